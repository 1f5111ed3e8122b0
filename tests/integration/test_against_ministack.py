"""The same engine against a server that others wrote: its list of messages is ours."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bulksend.aws import AwsAccess
from bulksend.aws.client import open_client
from bulksend.model import CampaignState
from bulksend.pacing import PaceSettings
from tests.harness import REGION, Desk
from tests.independent import Ministack

CAMPAIGN = """\
name = "{name}"
[sender]
from = "Example News <news@example.com>"
[content]
template = "launch"
default_data = {{ plan = "free" }}
[recipients]
path = "list.csv"
dedupe = {dedupe}
"""


def call(url: str, operation: str, **arguments: Any) -> None:
    async def main() -> None:
        async with open_client(AwsAccess(region=REGION, endpoint_url=url), retrying=True) as client:
            await getattr(client, operation)(**arguments)

    asyncio.run(main())


def prepare(ministack: Ministack) -> None:
    call(ministack.endpoint_url, "create_email_identity", EmailIdentity="example.com")
    call(
        ministack.endpoint_url,
        "create_email_template",
        TemplateName="launch",
        TemplateContent={"Subject": "Hello", "Text": "Your address is {{email_again}}, your plan {{plan}}"},
    )


def test_its_messages_are_ours(tmp_path: Path, ministack: Ministack) -> None:
    prepare(ministack)
    desk = Desk(tmp_path, ministack.endpoint_url)
    addresses = [f"a{n}@example.com" for n in range(130)]
    (tmp_path / "list.csv").write_text(
        "email,email_again,plan\n" + "".join(f'{a},"{a} ""ü\\ {n}",p{n}\n' for n, a in enumerate(addresses)), "utf-8"
    )
    desk.plan_file(CAMPAIGN)
    ended = desk.send()
    assert ended.state is CampaignState.FINISHED
    theirs = {m["MessageId"]: (m["To"], m["BodyText"]) for m in ministack.messages()}
    assert theirs == {
        r.message_id: ([r.address], f'Your address is {r.address} "ü\\ {r.row - 1}, your plan p{r.row - 1}')
        for r in desk.results("accepted")
    }
    assert ended.tally.accepted == len(theirs) == 130


def test_its_sandbox_makes_dead_letters_with_their_text(tmp_path: Path, ministack: Ministack) -> None:
    prepare(ministack)
    call(
        ministack.endpoint_url,
        "put_account_details",
        MailType="MARKETING",
        WebsiteURL="https://example.com",
        ProductionAccessEnabled=False,
    )
    desk = Desk(tmp_path, ministack.endpoint_url)
    desk.plan(
        [
            *[f"success+{n}@simulator.amazonses.com" for n in range(20)],
            "stranger@example.net",
            *[f"success+{n}@simulator.amazonses.com" for n in range(20, 40)],
            "another@example.org",
        ],
        body=CAMPAIGN.replace('plan = "free"', 'plan = "free", email_again = "the one above"'),
    )
    ended = desk.send(pace=PaceSettings())
    assert ended.state is CampaignState.FINISHED
    assert (ended.tally.accepted, ended.tally.dead) == (40, 2)
    for row, dead in zip((21, 42), desk.results("dead"), strict=True):
        assert (dead.row, dead.status) == (row, "MESSAGE_REJECTED")
        assert "not verified" in dead.reason
        assert dead.address in dead.reason
    assert len(ministack.messages()) == 40
