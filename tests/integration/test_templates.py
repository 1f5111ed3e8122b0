"""Templates over the wire: push, pull, list, render, and a list held against what its template uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bulksend import worker
from bulksend.aws import AwsAccess
from bulksend.config import CampaignFile, load_campaign, load_template, template_toml
from bulksend.errors import AccountError, ListError
from bulksend.model import Binding
from bulksend.ses import TemplateContent, TemplateError, TemplateNotFoundError, Templates
from bulksend.simulator import SimulatorProcess
from bulksend.worker.account import read_quota
from bulksend.worker.planning import plan
from bulksend.worker.templates import (
    list_templates,
    pull_template,
    push_template,
    render_template,
    template_use,
)
from tests.clocks import ScaledLoop
from tests.harness import REGION, settings_for
from tests.simulated_ses import ses_client

_T = TypeVar("_T")

CAMPAIGN = """\
name = "launch"
[sender]
from = "news@example.com"
[content]
{content}
[recipients]
path = "list.csv"
"""
BINDING = Binding("123456789012", REGION)


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {}


@pytest.fixture
def simulator(simulator: SimulatorProcess) -> SimulatorProcess:
    """That of all tests, without the templates of those before."""
    with ses_client(simulator.url) as client:
        while stored := client.call("list_email_templates")["TemplatesMetadata"]:
            for one in stored:
                client.call("delete_email_template", TemplateName=one["TemplateName"])
    simulator.reset()
    return simulator


def within(
    simulator: SimulatorProcess, what: Callable[[Templates], Coroutine[Any, Any, _T]], *, speed: float = 100.0
) -> _T:
    """Do something with the templates, `speed` times as fast as the world."""

    async def main() -> _T:
        access = AwsAccess(region=REGION, endpoint_url=simulator.url, connect_timeout_s=600.0, answer_timeout_s=600.0)
        async with Templates(access) as templates:
            return await what(templates)

    with asyncio.Runner(loop_factory=lambda: ScaledLoop(speed)) as runner:
        return runner.run(main())


def store_template(simulator: SimulatorProcess, subject: str, html: str | None = None, text: str | None = None) -> None:
    within(simulator, lambda templates: templates.put(TemplateContent("launch", subject, html, text)))


def campaign(folder: Path, content: str = 'template = "launch"') -> CampaignFile:
    path = folder / "campaign.toml"
    path.write_text(CAMPAIGN.format(content=content), "utf-8")
    return load_campaign(path)


def test_put_creates_then_changes(simulator: SimulatorProcess) -> None:
    async def both(templates: Templates) -> tuple[bool, bool, TemplateContent]:
        first = await templates.put(TemplateContent("launch", "One", "<p>1</p>", "1"))
        second = await templates.put(TemplateContent("launch", "Two", None, "2"))
        return first, second, await templates.get("launch")

    assert within(simulator, both) == (True, False, TemplateContent("launch", "Two", None, "2"))


def test_the_list_is_read_to_its_last_page(simulator: SimulatorProcess) -> None:
    async def many(templates: Templates) -> list[str]:
        for n in range(101):
            await templates._client.create_email_template(
                TemplateName=f"t{n:03}", TemplateContent={"Subject": "s", "Text": "t"}
            )
        found = await templates.list()
        assert all(template.created_at is not None for template in found)
        return [template.name for template in found]

    assert within(simulator, many) == [f"t{n:03}" for n in range(101)]
    assert [r["operation"] for r in simulator.requests()].count("ListEmailTemplates") == 2


def test_calls_are_a_second_apart(simulator: SimulatorProcess) -> None:
    async def three(templates: Templates) -> float:
        began = asyncio.get_running_loop().time()
        for _ in range(3):
            await templates.list()
        return asyncio.get_running_loop().time() - began

    assert within(simulator, three, speed=5.0) >= 2.0


def test_what_ses_says_against_a_template(simulator: SimulatorProcess) -> None:
    with pytest.raises(TemplateNotFoundError, match="no such template in this account and region: gone"):
        within(simulator, lambda templates: templates.get("gone"))
    store_template(simulator, "Hi {{name}}", text="x")
    with pytest.raises(TemplateError, match="Attribute 'name' is not present in the rendering data"):
        within(simulator, lambda templates: templates.render("launch", {}))
    with pytest.raises(TemplateError, match="TemplateName"):
        within(simulator, lambda templates: templates.put(TemplateContent("a b", "s", None, "t")))


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(AccountError):
        list_templates(settings_for("http://127.0.0.1:9"))


def test_push_pull_list_render(simulator: SimulatorProcess, tmp_path: Path) -> None:
    settings = settings_for(simulator.url)
    path = tmp_path / "launch.toml"
    path.write_text(template_toml("launch", "Hi {{name}}", None, "Your plan: {{plan}}\n"), "utf-8")
    assert push_template(path, settings) == "launch: created"
    assert push_template(path, settings) == "launch: changed"
    pulled = pull_template("launch", settings)
    assert pulled == {"name": "launch", "subject": "Hi {{name}}", "html": None, "text": "Your plan: {{plan}}\n"}
    assert load_template(path).text == pulled["text"]
    assert [template.name for template in list_templates(settings)] == ["launch"]
    rendered = render_template(
        campaign(tmp_path, 'template = "launch"\ndefault_data = { plan = "free" }'), {"name": "J\u00f6"}, settings
    )
    assert "Subject: Hi J\u00f6" in rendered
    assert "Your plan: free" in rendered


def test_an_inline_template_is_rendered_here(tmp_path: Path) -> None:
    file = campaign(
        tmp_path, 'inline = { subject = "Hi {{name}}", text = "{{plan}}" }\ndefault_data = { plan = "free" }'
    )
    nowhere = settings_for("http://127.0.0.1:9")
    assert render_template(file, {"name": "Jo"}, nowhere) == "Subject: Hi Jo\n\nfree\n"
    with pytest.raises(TemplateError, match="it uses 'name', which the row does not have"):
        render_template(file, {}, nowhere)


def test_quota(simulator: SimulatorProcess, tmp_path: Path) -> None:
    status = read_quota(settings_for(simulator.url), tmp_path).account
    assert (status.max_send_rate_per_s, status.sending_enabled) == (500.0, True)


# What a campaign's template uses


def test_the_names_of_a_stored_template(simulator: SimulatorProcess, tmp_path: Path) -> None:
    store_template(simulator, "Hi {{name}}", "<p>{{#if vip}}{{{gift}}}{{/if}}</p>", "{{#each items}}{{x}}{{/each}}")
    found = template_use(campaign(tmp_path), settings_for(simulator.url), BINDING)
    assert found.names.needed == frozenset({("name",), ("items",)})
    assert found.names.optional == frozenset({("vip",), ("gift",)})
    assert found.warnings == ()


def test_what_of_a_template_is_not_understood_is_a_warning_and_the_rest_is_checked(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    store_template(simulator, "Hi {{name}}", text="{{first name}} {{> footer}}")
    found = template_use(campaign(tmp_path), settings_for(simulator.url), BINDING)
    assert found.names.needed == frozenset({("name",)})
    assert "{{first name}} {{> footer}}" in found.warnings[0]


def test_the_names_of_an_inline_template(tmp_path: Path) -> None:
    file = campaign(tmp_path, 'inline = {{ subject = "{{{{s}}}}", html = "{{{{h}}}}", text = "{{{{t}}}}" }}'.format())
    assert template_use(file, settings_for("http://127.0.0.1:9"), BINDING).names.needed == frozenset(
        {("s",), ("h",), ("t",)}
    )


@pytest.mark.parametrize("text", ["{{#if name}}x{{/if}}", "{{first name}}", "Hi {{name", "{{> footer}}"])
def test_an_inline_template_is_simple_or_refused(tmp_path: Path, text: str) -> None:
    file = campaign(tmp_path, f'inline = {{ subject = "Hi", text = "{text}" }}')
    with pytest.raises(TemplateError, match=r"content\.inline\.text has \{\{") as caught:
        template_use(file, settings_for("http://127.0.0.1:9"), BINDING)
    assert "template push" in caught.value.hint


@pytest.mark.parametrize(
    ("arn", "binding", "checked"),
    [
        ("arn:aws:ses:eu-west-1:123456789012:template/launch", BINDING, True),
        ("arn:aws:ses:eu-west-1:999999999999:template/launch", BINDING, False),
        ("arn:aws:ses:eu-west-2:123456789012:template/launch", BINDING, False),
        ("arn:aws:ses:eu-west-1:999999999999:template/launch", Binding("http://x", REGION, "http://x"), True),
        ("arn:odd", BINDING, False),
    ],
)
def test_a_template_by_its_arn_is_checked_if_it_is_ours(
    simulator: SimulatorProcess, tmp_path: Path, arn: str, binding: Binding, *, checked: bool
) -> None:
    store_template(simulator, "{{name}}", text="x")
    found = template_use(campaign(tmp_path, f'template_arn = "{arn}"'), settings_for(simulator.url), binding)
    assert (found.names.needed == frozenset({("name",)})) == checked
    assert bool(found.warnings) != checked


def test_a_template_that_is_not_there_yet_is_a_warning(simulator: SimulatorProcess, tmp_path: Path) -> None:
    found = template_use(campaign(tmp_path), settings_for(simulator.url), BINDING)
    assert found.names.needed == frozenset()
    assert found.warnings == (
        "there is no template 'launch' in this account and region yet: SES will refuse the campaign",
    )


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDeniedException"), (404, "UnknownOperationException")])
def test_a_template_that_cannot_be_asked_for_is_a_warning(
    simulator: SimulatorProcess, tmp_path: Path, status: int, code: str
) -> None:
    simulator.rules([{"fault": "http", "operation": "GetEmailTemplate", "status": status, "code": code}])
    found = template_use(campaign(tmp_path), settings_for(simulator.url), BINDING)
    assert found.names.needed == frozenset()
    assert len(found.warnings) == 1
    assert code in found.warnings[0]


def test_a_list_that_lacks_what_the_template_uses_is_refused(simulator: SimulatorProcess, tmp_path: Path) -> None:
    store_template(simulator, "Hi {{name}}", text="{{plan}}")
    settings = settings_for(simulator.url)
    (tmp_path / "list.csv").write_text("email,name\na@example.com,Jo\n", "utf-8")
    file = campaign(tmp_path)
    store = worker.Store.open(settings, tmp_path)
    with pytest.raises(ListError, match="the template uses 'plan'"):
        plan(file, settings, store)
    assert plan(campaign(tmp_path, 'template = "launch"\ndefault_data = { plan = "free" }'), settings, store).is_new
    assert not [r for r in simulator.requests() if r["operation"] == "SendBulkEmail"]
