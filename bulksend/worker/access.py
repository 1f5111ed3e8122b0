"""Where SES is asked, and as whom, by the settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bulksend.config import Settings
from bulksend.errors import AccountError, ConfigError
from bulksend.ses import AwsAccess

__all__ = ["aws_access", "wanting_region"]


def aws_access(settings: Settings) -> AwsAccess:
    """What the settings say of where and as whom."""
    return AwsAccess(
        # Other SDKs read AWS_REGION, the one for Python AWS_DEFAULT_REGION alone: both count here.
        region=settings.aws.region or os.environ.get("AWS_REGION") or None,
        profile=settings.aws.profile,
        endpoint_url=settings.aws.endpoint_url,
        connect_timeout_s=settings.transport.connect_timeout_s,
        answer_timeout_s=settings.transport.answer_timeout_s,
    )


@contextmanager
def wanting_region() -> Iterator[None]:
    """Around what asks SES. Raises ConfigError where no region is set anywhere: that is no fault of the account."""
    try:
        yield
    except AccountError as error:
        # By its name: the SDK's exceptions are not known here.
        if type(error.__cause__).__name__ != "NoRegionError":
            raise
        raise ConfigError(
            "no AWS region is set",
            hint="Pass --region, or set aws.region in config.toml, AWS_REGION in the environment, or the profile's.",
        ) from error
