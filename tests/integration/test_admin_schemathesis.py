"""Requests that schemathesis makes of the OpenAPI document: every answer is one that the document allows."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

from bulksend.admin.routes import ROUTES, Route
from tests.office_in_memory import TOKEN, OfficeInMemory, face_in_thread

EXAMPLES = 15
WELL, ILL = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
CASES = [
    pytest.param(route, mode, token, id=f"{route.operation} {mode.value} {'token' if token else 'open'}")
    for route in ROUTES
    for mode in (WELL, ILL)
    for token in ("", TOKEN)
    if mode is WELL or token or route.method == "POST" or "{name}" in route.path  # else there is nothing to get wrong
]


@pytest.mark.parametrize(("route", "mode", "token"), CASES)
def test_every_answer_is_documented(route: Route, mode: GenerationMode, token: str) -> None:
    # JSON Schema has no word for "no NUL".
    config = schemathesis.Config.from_dict({"generation": {"allow-x00": mode is ILL}})
    with face_in_thread(OfficeInMemory(), token=token or None) as face, requests.Session() as session:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        schema = schemathesis.openapi.from_url(f"{face.url}/openapi.json", config=config, headers=headers)
        strategy: Any = schema[route.path][route.method].as_strategy(generation_mode=mode)

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def ask(case: Case[Any]) -> None:
            # What makes a request ill may be lost on its way: a key with no value, a header that is set after all.
            lost: list[Any] = [negative_data_rejection] if mode is ILL else []
            case.call_and_validate(base_url=face.url, session=session, headers=headers, excluded_checks=lost)

        ask()
        assert face.faults == []
