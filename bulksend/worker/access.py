"""Where SES is asked, and as whom, by the settings."""

from __future__ import annotations

import os

from bulksend.aws import AwsAccess
from bulksend.config import Settings

__all__ = ["aws_access", "s3_endpoint"]


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


def s3_endpoint(settings: Settings) -> str | None:
    """What is spoken to in place of Amazon S3, if anything."""
    # The SDKs' own variable: the SES client heeds its like by itself, pyarrow does not.
    return settings.aws.s3_endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or None
