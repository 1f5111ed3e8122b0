"""The OpenAPI 3.1 document of the operators' face, as data; a test holds it against the routes."""

from __future__ import annotations

from bulksend.event import FATES
from bulksend.model import CampaignState, EntryState

__all__ = ["document"]

_JSON = "application/json"
_STATES = [*(state.name.lower() for state in EntryState), "skipped"]

_FAULTS = {
    400: "The request cannot be read: its path, query or body, or a key of the query is not known here.",
    401: "The face has a token, and the request has not.",
    403: "A face without a token was asked by a web page of another origin.",
    404: "There is no campaign of this name.",
    408: "The body did not arrive in time.",
    409: "The campaign is in no state for this, or is another one than was planned under its name.",
    413: "The body is over 1 MB.",
    415: "The body is not said to be JSON. That is wanted even where it is empty.",
    421: "A face without a token was asked by a Host that is not loopback.",
    422: "The campaign or its list is not valid; every fault is named.",
    500: "Something nobody expected. The log says what kind of error it was.",
    503: "The store, the snapshot or the account cannot be used, or too many requests are at work.",
}
_EVERYWHERE = (400, 401, 403, 421, 500, 503)
_OF_A_BODY = (408, 413, 415)

_CAMPAIGN_NAME = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"
_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The campaign's name.",
    "schema": {"type": "string", "pattern": _CAMPAIGN_NAME},
}
_EMPTY = {
    "required": True,
    "description": "An empty object. No body at all is taken as well, but it has to be said that it is JSON.",
    "content": {_JSON: {"schema": {"type": "object", "maxProperties": 0}}},
}
_COUNT = {"type": "integer", "minimum": 0}
_SCHEMAS = {
    "Error": {
        "type": "object",
        "required": ["error", "what_to_do"],
        "properties": {
            "error": {"type": "string", "description": "What happened, and to which input."},
            "what_to_do": {"type": "string"},
        },
        "additionalProperties": False,
    },
    "Health": {
        "type": "object",
        "required": ["alive", "heartbeat_age_s"],
        "properties": {
            "alive": {"type": "boolean"},
            "heartbeat_age_s": {"type": "number", "description": "Seconds since the event loop last turned."},
        },
        "additionalProperties": False,
    },
    "Readiness": {
        "type": "object",
        "required": ["ready", "reasons"],
        "properties": {
            "ready": {"type": "boolean"},
            "reasons": {"type": "array", "items": {"type": "string"}, "description": "Why it is not ready."},
        },
        "additionalProperties": False,
    },
    "Campaign": {
        "type": "object",
        "description": "What bulksend status says of it as JSON; the numbers are rows of the list.",
        "required": ["campaign", "state"],
        "properties": {
            "campaign": {"type": "string", "description": "Its name."},
            "id": {"type": "string"},
            "state": {"enum": [state.value for state in CampaignState]},
            "rows": _COUNT,
            "accepted": _COUNT,
            "dead": _COUNT,
            "in_doubt": _COUNT,
            "in_flight": _COUNT,
            "pending": _COUNT,
            "events": {
                "type": ["object", "null"],
                "description": "Rows by what became of their mails; null where the events cannot be read.",
            },
            "events_unread": {"type": ["string", "null"], "description": "Why they cannot be read."},
        },
    },
    "Campaigns": {
        "type": "object",
        "required": ["campaigns"],
        "properties": {"campaigns": {"type": "array", "items": {"$ref": "#/components/schemas/Campaign"}}},
        "additionalProperties": False,
    },
    "CampaignFile": {
        "type": "object",
        "description": "The tables and keys of a campaign file (docs/campaign-file.md), as JSON. Files that it names "
        "are on the worker's machine.",
        "required": ["name", "sender", "content", "recipients"],
        "properties": {
            "name": {"type": "string", "pattern": _CAMPAIGN_NAME},
            "sender": {"type": "object"},
            "content": {"type": "object"},
            "recipients": {"type": "object"},
        },
        "examples": [
            {
                "name": "2026-11-launch",
                "sender": {"from": "Example News <news@example.com>"},
                "content": {"template": "launch"},
                "recipients": {"path": "/srv/lists/launch.csv"},
            }
        ],
    },
    "Document": {"type": "object", "required": ["openapi", "paths"]},
}


def document(*, token_needed: bool) -> dict[str, object]:
    """The document, as JSON-able data, of a face that needs a token or of one that has none."""
    paths = {
        "/metrics": {"get": _operation("metrics", "Every series, for Prometheus.", {200: _text("text/plain")})},
        "/healthz": {
            "get": _operation(
                "healthz",
                "Whether the event loop turns. It asks nobody: an outage elsewhere must not get a worker killed.",
                {200: _object("Health", "It turns."), 503: _either("Health", "It has stood still for long.")},
            )
        },
        "/readyz": {
            "get": _operation(
                "readyz",
                "Whether it can send: the store, the account, sending enabled.",
                {200: _object("Readiness", "It can."), 503: _either("Readiness", "It cannot, and why.")},
            )
        },
        "/openapi.json": {"get": _operation("openapi", "This document.", {200: _object("Document", "OpenAPI 3.1.")})},
        "/campaigns": {
            "get": _operation("campaigns", "Every campaign of the store.", {200: _object("Campaigns", "All of them.")}),
            "post": _submit(),
        },
        "/campaigns/{name}": {
            "parameters": [_NAME],
            "get": _operation("campaign", "One campaign.", {200: _object("Campaign", "What is known of it.")}, (404,)),
        },
        "/campaigns/{name}/submit": _change("queue", "Queue a campaign that is planned already."),
        "/campaigns/{name}/pause": _change("pause", "Send no more of it until it is resumed."),
        "/campaigns/{name}/resume": _change("resume", "Go on with one that is paused or halted."),
        "/campaigns/{name}/cancel": _change("cancel", "End it for good: what is pending is skipped."),
        "/campaigns/{name}/results": {"parameters": [_NAME], "get": _results()},
    }
    bearer = {"bearer": {"type": "http", "scheme": "bearer", "description": "The worker's token."}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bulksend worker",
            "version": "1",
            "description": "What those who operate a worker ask of it. Errors say what happened and what to do. "
            "Methods that are not listed get 405, paths that are not listed 404.",
        },
        "paths": paths,
        "components": {"schemas": _SCHEMAS, "securitySchemes": bearer if token_needed else {}},
        "security": [{"bearer": []}] if token_needed else [],
    }


def _submit() -> dict[str, object]:
    again = _query(
        "again",
        "Whether to send a list and content that an earlier campaign had.",
        {"type": "string", "enum": ["true", "false"], "default": "false"},
    )
    body = {"required": True, "content": {_JSON: {"schema": {"$ref": "#/components/schemas/CampaignFile"}}}}
    answers = {
        200: _object("Campaign", "It is known already, and the same."),
        201: _object("Campaign", "It is new: planned and queued."),
    }
    operation = _operation("submit", "Plan and queue a campaign.", answers, (*_OF_A_BODY, 409, 422))
    return operation | {"parameters": [again], "requestBody": body}


def _results() -> dict[str, object]:
    state = _query(
        "state",
        "Rows in this state; several times for several states, all where it is left out.",
        {"type": "array", "items": {"enum": _STATES}, "uniqueItems": True, "minItems": 1},
    )
    fate = _query(
        "fate",
        "Rows of which events tell this; several times for any of several, all rows where it is left out.",
        {"type": "array", "items": {"enum": list(FATES.values())}, "uniqueItems": True, "minItems": 1},
    )
    form = _query("format", "CSV, or a line of JSON a row.", {"enum": ["csv", "jsonl"], "default": "csv"})
    operation = _operation(
        "results",
        "What became of each row. A connection that breaks off means that it is not whole.",
        {200: _text("text/csv", "application/x-ndjson")},
        (404, 409),
    )
    return operation | {"parameters": [state, fate, form]}


def _change(name: str, summary: str) -> dict[str, object]:
    answers = {200: _object("Campaign", "What is known of it now.")}
    operation = _operation(name, summary, answers, (*_OF_A_BODY, 404, 409))
    return {"parameters": [_NAME], "post": operation | {"requestBody": _EMPTY}}


def _operation(
    name: str, summary: str, answers: dict[int, dict[str, object]], faults: tuple[int, ...] = ()
) -> dict[str, object]:
    every = {status: _object("Error", _FAULTS[status]) for status in (*_EVERYWHERE, *faults)} | answers
    return {
        "operationId": name,
        "summary": summary,
        "responses": {str(status): every[status] for status in sorted(every)},
    }


def _query(name: str, description: str, schema: dict[str, object]) -> dict[str, object]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _object(schema: str, description: str) -> dict[str, object]:
    return {"description": description, "content": {_JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _either(schema: str, description: str) -> dict[str, object]:
    """An answer of its own, or the common error of this status."""
    references = [{"$ref": f"#/components/schemas/{each}"} for each in (schema, "Error")]
    return {"description": description, "content": {_JSON: {"schema": {"oneOf": references}}}}


def _text(*kinds: str) -> dict[str, object]:
    return {"description": "Text.", "content": {kind: {"schema": {"type": "string"}} for kind in kinds}}
