"""Requests and answers: the envelope, the two transports, the account, the templates."""

from __future__ import annotations

from bulksend.ses.account import Account, find_binding
from bulksend.ses.compatible import CompatibleTransport
from bulksend.ses.envelope import Envelope, EnvelopeAttachment
from bulksend.ses.placeholders import TemplateNames, fill, names_in, not_simple
from bulksend.ses.route import find_route
from bulksend.ses.signed import SignedTransport
from bulksend.ses.suppression import AccountSuppressions, ListChangedError
from bulksend.ses.templates import ListedTemplate, TemplateContent, TemplateError, TemplateNotFoundError, Templates

__all__ = [
    "Account",
    "AccountSuppressions",
    "CompatibleTransport",
    "Envelope",
    "EnvelopeAttachment",
    "ListChangedError",
    "ListedTemplate",
    "SignedTransport",
    "TemplateContent",
    "TemplateError",
    "TemplateNames",
    "TemplateNotFoundError",
    "Templates",
    "fill",
    "find_binding",
    "find_route",
    "names_in",
    "not_simple",
]
