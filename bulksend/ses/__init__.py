"""Requests and answers: the envelope, the two transports, the account, the templates."""

from __future__ import annotations

from bulksend.ses.account import Account, find_binding
from bulksend.ses.client import AwsAccess
from bulksend.ses.compatible import CompatibleTransport
from bulksend.ses.envelope import Envelope, EnvelopeAttachment
from bulksend.ses.placeholders import fill, variables_of
from bulksend.ses.route import Detour, Route, find_route
from bulksend.ses.signed import SignedTransport
from bulksend.ses.skew import ServerClock
from bulksend.ses.templates import ListedTemplate, TemplateContent, TemplateError, TemplateNotFoundError, Templates

__all__ = [
    "Account",
    "AwsAccess",
    "CompatibleTransport",
    "Detour",
    "Envelope",
    "EnvelopeAttachment",
    "ListedTemplate",
    "Route",
    "ServerClock",
    "SignedTransport",
    "TemplateContent",
    "TemplateError",
    "TemplateNotFoundError",
    "Templates",
    "fill",
    "find_binding",
    "find_route",
    "variables_of",
]
