"""Where SES is asked, and as whom, by the settings."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from bulksend.aws import AwsAccess
from bulksend.config import Settings
from bulksend.errors import UsageError

__all__ = ["aws_access", "refuse_half_aws", "s3_endpoint"]

_OF_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
"""Ends of AWS's host names, those of VPC endpoints too (AWS General Reference, AWS service endpoints)."""


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


def refuse_half_aws(settings: Settings) -> None:
    """The account of SES's simulator is nobody's at AWS: its events are to be looked for, and set up, beside it.

    Raises:
        UsageError: one of SES, and all the others that carry events, is AWS's own, and the other stands in for it.
    """
    ways = {
        "aws.endpoint_url": (settings.aws.endpoint_url, "SES"),
        "events.endpoint_url": (settings.events.endpoint_url, "SQS, SNS, EventBridge, STS and CloudWatch"),
    }
    lacking = [key for key, (url, _) in ways.items() if _is_of_aws(url)]
    if len(lacking) != 1:
        return
    (key,) = lacking
    ((other, (url, what)),) = (way for way in ways.items() if way[0] != key)
    raise UsageError(
        f"by {other}, {url} stands in for {what}, and by {key} AWS itself would be asked for {ways[key][1]}",
        hint=f"Set {key} as well (BULKSEND_{key.replace('.', '_').upper()}), or neither of the two.",
    )


def _is_of_aws(endpoint_url: str | None) -> bool:
    return endpoint_url is None or (urlsplit(endpoint_url).hostname or "").endswith(_OF_AWS)
