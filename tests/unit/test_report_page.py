"""The page of a report: what it says of given facts, that nothing gets out of its place, and that it is bounded."""

from __future__ import annotations

import hashlib
import html
import re
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.event import BounceKind, EventType
from bulksend.model import Binding, Campaign, CampaignState, Halt, ResultRow, SkipReason, Tally
from bulksend.report import Became, CampaignReport, Durations, Kinds, Rate, Requests, render_page
from bulksend.report.markup import bounded, duration_in_words, share
from bulksend.report.outline import Weight, state_in_words, verdict_on
from bulksend.schedule import Schedule
from bulksend.worker.reporting import _plain, masked

NOON = 1_795_262_400.0
"""21 November 2026, 12:00:00 UTC."""
VOID = {"meta", "link", "wbr"}
MOST_BYTES = 300_000


class Structure(HTMLParser):
    """What a browser makes of a page: tags, all of them closed, headings, and tables as rows of text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str, str | None]] = set()
        self.headings: list[tuple[int, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text: list[str] = []
        self._caption = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(tag, name, value) for name, value in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag == "caption":
            self._caption = ""
        if tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        if tag in {"td", "th"}:
            self.tables[self._caption][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text.append(data)
        if self.open and re.fullmatch("h[1-6]", self.open[-1] if self.open[-1] != "bdi" else self.open[-2]):
            level, so_far = self.headings[-1]
            self.headings[-1] = (level, so_far + data)
        if "caption" in self.open:
            self._caption += data
        elif "td" in self.open or "th" in self.open:
            separator = " | " if self.open[-1] == "small" or "small" in self.open[-3:] else ""
            self.tables[self._caption][-1][-1] += separator + data

    def table(self, caption: str) -> list[list[str]]:
        """Of the table whose caption has that in it, without its head."""
        (found,) = [rows for words, rows in self.tables.items() if caption in words]
        return found[1:]

    @property
    def said(self) -> str:
        """As people read it."""
        return re.sub(r" ([.,;:])", r"\1", " ".join(" ".join(self.text).split()))


def campaign(state: CampaignState = CampaignState.FINISHED, **more: Any) -> Campaign:
    made: dict[str, Any] = {
        "id": "c" * 26,
        "name": "2026-11-launch",
        "state": state,
        "created_at": NOON - 60,
        "binding": Binding("123456789012", "eu-west-1"),
        "prefix": b"",
        "suffix": b"",
        "frozen": {"sender.from": '"Example News <news@example.com>"'},
        "list_digest": "d" * 64,
        "snapshot": "s.parquet",
        "snapshot_bytes": 1,
        "snapshot_sha256": "",
        "rows": 104_300,
        "entries": 104_221,
        "recipients": 104_221,
        "skipped": {SkipReason.INVALID: 70, SkipReason.DUPLICATE: 9},
    }
    return Campaign(**made | more)


def tally(**more: Any) -> Tally:
    made: dict[str, Any] = {
        "rows": 104_300,
        "accepted": 104_159,
        "dead": 12,
        "in_doubt": 50,
        "in_flight": 0,
        "pending": 0,
        "skipped": {SkipReason.INVALID: 70, SkipReason.DUPLICATE: 9},
    }
    return Tally(**made | more)


def kinds(*of: tuple[str, str, int]) -> Kinds:
    made = Kinds()
    for status, reason, entries in of:
        for _ in range(entries):
            made.add(status, reason)
    return made


def report(**more: Any) -> CampaignReport:
    accepted, answers = Rate(), Durations()
    for second in range(200):
        accepted.add(NOON + second, 500)
        answers.add(0.030 + second / 10_000)
    made: dict[str, Any] = {
        "campaign": campaign(),
        "tally": tally(),
        "made_at": NOON + 3600,
        "accepted": accepted,
        "answers": answers,
        "refused": kinds(("MESSAGE_REJECTED", "Email address is not verified: [address]", 10), ("FAILED", "", 2)),
        "in_doubt": kinds(("NO_ANSWER", "connection reset", 50)),
        "retried": kinds(("TRANSIENT_FAILURE", "busy", 30)),
        "attempts": {1: 104_191, 2: 20, 3: 4, 7: 6},
        "requests": Requests(answered=200, unanswered=1, not_sent=2),
        "first_attempt_at": NOON - 1,
        "last_answer_at": NOON + 199.5,
        "send_rate_per_s": 500.0,
        "dead_rows": [row(n, "dead") for n in range(12)],
        "in_doubt_rows": [row(n, "in_doubt") for n in range(50)],
    }
    return CampaignReport(**made | more)


def row(number: int, state: str, **more: Any) -> ResultRow:
    said: dict[str, Any] = {
        "address": "a***@example.com",
        "status": "MESSAGE_REJECTED",
        "reason": "no",
        "at": NOON,
    } | more
    return ResultRow(campaign="2026-11-launch", row=number, state=state, **said)


def page_of(**more: Any) -> Structure:
    return Structure(render_page(report(**more)))


LIMITS = "SES reviews an account from {}\u202f%, and may pause it from {}\u202f%"


@pytest.mark.parametrize(
    ("lasting", "complained", "over"),
    [(499, 9, []), (500, 9, ["Bounced: permanent"]), (499, 10, ["Complained"]), (0, 100, ["Complained"])],
)
def test_shares_from_which_ses_acts_stand_out(lasting: int, complained: int, over: list[str]) -> None:
    """5 % bounces for good, 0.1 % complaints."""
    became = Became(
        10_000,
        0,
        {EventType.DELIVERY: 9000, EventType.BOUNCE: lasting + 900, EventType.COMPLAINT: complained},
        {BounceKind.PERMANENT: lasting, BounceKind.TRANSIENT: 900},
        NOON,
    )
    text = render_page(report(became=became, tally=tally(accepted=10_000)))
    assert re.findall(r'<th scope="row">([^<]*)<small class="over">', text) == over


def test_what_people_ask_for_first_is_on_top_where_events_are_in() -> None:
    became = Became(
        104_000, 0, {EventType.DELIVERY: 99_000, EventType.BOUNCE: 5000, EventType.COMPLAINT: 120}, BOUNCED, NOON
    )
    with_events, without = (render_page(report(became=one)).partition("</header>")[0] for one in (became, Became()))
    assert re.findall(r"<dt>([a-z ]*)</dt>", with_events) == [
        *("accepted", "delivered", "bounced", "complained"),
        *("dead", "in doubt", "still to be sent", "skipped", "mean per second"),
    ]
    assert "<dd>99,000<small>95.0\u202f% of accepted</small></dd>" in with_events
    assert "<dd>5,000<small>4.7\u202f% for good</small></dd>" in with_events
    assert "<dd>120<small>0.12\u202f% of accepted</small></dd>" in with_events
    assert "delivered</dt>" not in without
    assert without.count("<dt>") == with_events.count("<dt>") - 3


BOUNCED = {BounceKind.PERMANENT: 4900, BounceKind.TRANSIENT: 100}


def test_what_became_of_mails() -> None:
    without = page_of()
    assert "Delivered and bounced" not in [words for _, words in without.headings]
    assert "in events that this report does not have" in without.said
    became = Became(
        104_000,
        2,
        {EventType.DELIVERY: 99_000, EventType.BOUNCE: 5000, EventType.COMPLAINT: 12},
        {BounceKind.PERMANENT: 4900, BounceKind.TRANSIENT: 100},
        NOON + 3000,
    )
    page = page_of(became=became, bounced=kinds(("permanent NoEmail", "550 5.1.1 <b>[address]</b> unknown", 5)))
    assert page.headings[4] == (2, "Delivered and bounced")
    assert "in events: see below" in page.said
    assert "By events of 104,000 rows" in page.said
    assert page.table("Rows by what became") == [
        ["Delivered", "99,000", "95.0\u202f%"],
        [f"Bounced: permanent | {LIMITS.format('5', '10')}", "4,900", "4.7\u202f%"],
        ["Bounced: transient", "100", "0.1\u202f%"],
        [f"Complained | {LIMITS.format('0.1', '0.5')}", "12", "0.01\u202f%"],
        ["More than one mail", "2", "<\u202f0.1\u202f%"],
    ]
    assert "<b>[address]</b>" in page.said, "as text"
    assert "A canary or a breaker" not in page.said


def test_bounces_are_a_part_of_what_was_accepted_as_the_halt_beside_them_says() -> None:
    bounces = Became(900, 0, {EventType.BOUNCE: 108, EventType.REJECT: 7}, {BounceKind.PERMANENT: 108}, NOON)
    halted = campaign(CampaignState.HALTED, rows=3000, entries=3000, halt=Halt("48 of 400 mails bounced", "See to it"))
    page = page_of(
        campaign=halted,
        tally=tally(rows=3000, accepted=900, dead=7, in_doubt=0, pending=2093, skipped={}),
        became=bounces,
    )
    assert page.table("Rows by what became") == [
        [f"Bounced: permanent | {LIMITS.format('5', '10')}", "108", "12.0\u202f%"],
        ["Rejected", "7", "–"],
    ]
    assert "The share is of the 900 rows that SES has accepted so far, without the 7 that it accepted and" in page.said
    assert "A canary or a breaker judges by mails sent in the time that it names" in page.said


def test_what_it_says() -> None:
    page = page_of()
    assert page.headings == [
        (1, "2026-11-launch"),
        (2, "Every row accounted for"),
        (2, "Rate over time"),
        (2, "How fast SES answered"),
        (2, "Refused, by reason"),
        (2, "In doubt, and what to do"),
        (2, "Retries"),
        (2, "Skipped rows"),
        (2, "Rows refused or given up"),
        (2, "Rows in doubt"),
    ]
    assert "104,159 of 104,221 mails were accepted by SES; 12 were refused; 50 are in doubt." in page.said
    assert [[cells[0].partition(" | ")[0], *cells[1:]] for cells in page.table("Each row of the list")] == [
        ["Accepted", "104,159", "99.9\u202f%"],
        ["Dead", "12", "<\u202f0.1\u202f%"],
        ["In doubt", "50", "<\u202f0.1\u202f%"],
        ["In flight", "0", "0.0\u202f%"],
        ["Pending", "0", "0.0\u202f%"],
        ["Skipped: invalid", "70", "0.1\u202f%"],
        ["Skipped: duplicate", "9", "<\u202f0.1\u202f%"],
        ["Skipped: suppressed", "0", "0.0\u202f%"],
        ["Skipped: cancelled", "0", "0.0\u202f%"],
        ["Sum", "104,300", "100.0\u202f%"],
        ["Rows read from the list", "104,300", "100.0\u202f%"],
    ]
    assert "The numbers add up: nobody is lost." in page.said
    rejected, failed = page.table("Dead mails")
    assert rejected[0].startswith(
        "MESSAGE_REJECTED | Email address is not verified: [address] | Read SES's words first."
    )
    assert failed[0].startswith("FAILED | Once the trouble is over")
    assert (rejected[1:], failed[1:]) == (["10", "83.3\u202f%"], ["2", "16.7\u202f%"])
    assert page.table("in doubt by")[0][0].startswith("NO_ANSWER | connection reset | The request left")
    assert [cells[:2] for cells in page.table("requests that they were in")] == [
        ["1", "104,191"],
        ["2", "20"],
        ["3", "4"],
        ["5 or more", "6"],
    ]
    assert page.table("sent again") == [["TRANSIENT_FAILURE | busy", "30", "100.0\u202f%"]]
    assert page.table("given up: all of them")[0] == [
        "0",
        "a***@example.com | 2026-11-21 12:00:00",
        "MESSAGE_REJECTED | no",
    ]
    for words in (
        "Example News <news@example.com>",
        "123456789012",
        "eu-west-1",
        "Planned 21 November 2026, 11:59:00 UTC",
        "First request 21 November 2026, 11:59:59 UTC",
        "Last answer 21 November 2026, 12:03:19 UTC",
        "3 minutes 20 seconds",
        "200 answered requests. Not counted here: 1 request that had no answer and 2 requests that never left.",
        "send rate 500/s",
        "each step is the mean over 1 s",
        "addresses are masked",
    ):
        assert words in page.said


def test_the_policy_allows_its_own_style_and_nothing_else() -> None:
    text = render_page(report())
    (style,) = re.findall(r"(?s)<style>(.*?)</style>", text)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert (
        f"content=\"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'\"" in text
    )
    assert text.index("Content-Security-Policy") < text.index("<style>")
    page = Structure(text)
    assert not page.tags & {"script", "iframe", "object", "img", "form", "a", "base"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in {"style", "src"}]
    assert [value for _, name, value in page.attributes if name == "href"] == ["data:,"]
    assert "url(" not in style
    assert "@import" not in style


def test_it_can_be_read_aloud() -> None:
    page = page_of()
    assert ("html", "lang", "en") in page.attributes
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert {value for tag, name, value in page.attributes if (tag, name) == ("th", "scope")} == {"col", "row"}
    assert {("svg", "role", "img"), ("svg", "aria-labelledby", "rate-title rate-words")} <= page.attributes
    assert {("title", "id", "rate-title"), ("desc", "id", "rate-words")} <= page.attributes
    assert all(cells[0] for rows in page.tables.values() for cells in rows)


NASTY = "<script>alert(1)</script>\"'&amp;\u202e\u2066gnp.exe\u0000\ud800</bdi></td></title></style>" + "x" * 10_000


def test_nothing_gets_out_of_its_place() -> None:
    halt = Halt(NASTY, NASTY)
    rows = [row(1, "dead", address=NASTY, status=NASTY, reason=NASTY)]
    text = render_page(
        report(
            campaign=campaign(
                CampaignState.HALTED,
                name=NASTY,
                id=NASTY,
                list_digest=NASTY,
                halt=halt,
                binding=Binding(NASTY, NASTY, NASTY),
                frozen={"sender.from": '"<script>alert(1)</script>\\u202e"'},
            ),
            refused=kinds((NASTY, NASTY, 1)),
            in_doubt=kinds((NASTY, NASTY, 1)),
            retried=kinds((NASTY, NASTY, 1)),
            dead_rows=rows,
            in_doubt_rows=rows,
            list_gone=NASTY,
        )
    )
    clean = Structure(render_page(report(campaign=campaign(CampaignState.HALTED, halt=Halt("", "")))))
    page = Structure(text)
    some_only = {"wbr", "span"}
    assert page.tags | some_only == clean.tags | some_only
    assert not [c for c in text if c in "\u202e\u2066\u0000" or "\ud800" <= c <= "\udfff"]
    assert "<script>alert(1)</script>" in page.said
    assert "x" * 1000 not in text
    assert text.encode()


@pytest.mark.parametrize("filling", ["&", "_", "@", "aA", "\U0001f600", "漢"])
def test_it_is_bounded(filling: str) -> None:
    amp = filling * 5000
    many = kinds(*((f"{n}{amp}", amp, 1) for n in range(1500)))
    rows = [row(n, "dead", address=amp, status=amp, reason=amp) for n in range(50)]
    accepted = Rate()
    for n in range(5000):
        accepted.add(NOON + n * 777.7, n * 12_345_678)
    text = render_page(
        report(
            campaign=campaign(CampaignState.HALTED, name=amp, halt=Halt(amp, amp), binding=Binding(amp, amp, amp)),
            refused=many,
            in_doubt=many,
            retried=many,
            accepted=accepted,
            dead_rows=rows,
            in_doubt_rows=rows,
            with_addresses=True,
        )
    )
    assert len(text.encode()) <= MOST_BYTES
    rest = Structure(text).table("Dead mails")
    assert len(rest) == 21
    assert rest[-1] == ["all other statuses", "1,480", "98.7\u202f%"]


def test_numbers_that_do_not_add_up_are_said_loudly() -> None:
    page = page_of(tally=tally(pending=3))
    assert page.said.count("The numbers do not add up") == 2
    assert "the parts make 104,303, the list has 104,300 rows" in page.said
    assert "nobody is lost" not in page.said
    assert "on 1 entry contradict" in page_of(tally=tally(contradictions=1)).said


def test_addresses_are_announced() -> None:
    assert "personal data" not in page_of().said
    page = page_of(with_addresses=True)
    assert "This page contains personal data" in page.said
    assert page.said.index("personal data") < page.said.index("104,159 of")


def test_without_the_list_the_numbers_stay() -> None:
    page = page_of(list_gone="the list was removed", dead_rows=[], in_doubt_rows=[])
    assert "These 12 cannot be shown: the list was removed" in page.said
    assert page.table("Dead mails")[0][1] == "10"
    assert "--state skipped" not in page.said


def test_a_halt_is_shown_with_its_remedy() -> None:
    page = page_of(campaign=campaign(CampaignState.HALTED, halt=Halt("the template is gone", "Make it again.")))
    assert "the template is gone" in page.said
    assert "What to do: Make it again." in page.said


@pytest.mark.parametrize("state", CampaignState)
def test_every_state_has_a_page_before_anything_was_sent(state: CampaignState) -> None:
    cancelled = {SkipReason.CANCELLED: 104_221} if state is CampaignState.CANCELLED else {}
    empty = report(
        campaign=campaign(state),
        tally=tally(
            accepted=0,
            dead=0,
            in_doubt=0,
            pending=0 if cancelled else 104_221,
            skipped={SkipReason.INVALID: 70, SkipReason.DUPLICATE: 9, **cancelled},
        ),
        accepted=Rate(),
        answers=Durations(),
        refused=Kinds(),
        in_doubt=Kinds(),
        retried=Kinds(),
        attempts={},
        requests=Requests(),
        first_attempt_at=None,
        last_answer_at=None,
        dead_rows=[],
        in_doubt_rows=[],
    )
    page = Structure(render_page(empty))
    assert [words for _, words in page.headings] == [
        "2026-11-launch",
        "Every row accounted for",
        "Rate over time",
        "Skipped rows",
    ]
    assert "SES has not answered anything yet." in page.said
    assert "nobody is lost" in page.said
    said = "cancelled before any of its 104,221 mails" if cancelled else "Nothing has been sent yet: 104,221 mails"
    assert said in page.said
    assert state_in_words(empty) != state_in_words(replace(empty, orphaned=True))


@pytest.mark.parametrize(
    ("more", "counts", "weight", "said"),
    [
        ({}, {"accepted": 104_221, "dead": 0, "in_doubt": 0}, Weight.GOOD, "All 104,221 mails were accepted by SES."),
        ({"given_up": 12}, {}, Weight.WARN, "; 12 were given up; 50 are in doubt."),
        ({"given_up": 11}, {}, Weight.WARN, "; 1 was refused; 11 were given up; 50 are in doubt."),
        ({}, {"accepted": 104_158, "in_flight": 1}, Weight.WARN, "; 1 is still to be sent or answered."),
        (
            {"campaign": campaign(entries=1)},
            {"accepted": 0, "rows": 80, "dead": 1, "in_doubt": 0},
            Weight.WARN,
            "0 of 1 mail was accepted by SES; 1 was refused.",
        ),
        (
            {},
            {"accepted": 0, "dead": 104_221, "in_doubt": 0},
            Weight.WARN,
            "0 of 104,221 mails were accepted by SES; 104,221 were refused.",
        ),
        ({}, {"accepted": 1, "dead": 104_220, "in_doubt": 0}, Weight.WARN, "; 104,220 were refused."),
    ],
)
def test_the_verdict(more: dict[str, Any], counts: dict[str, int], weight: Weight, said: str) -> None:
    found = verdict_on(report(tally=tally(**counts), **more))
    assert found[0] is weight
    assert found[1].endswith(said)


@pytest.mark.parametrize("state", CampaignState)
@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (0, "There is nothing to send: the list has no rows."),
        (1, "There is nothing to send: the one row of the list was skipped."),
        (7000, "There is nothing to send: all 7,000 rows of the list were skipped."),
    ],
)
def test_a_list_with_nothing_to_send(state: CampaignState, rows: int, said: str) -> None:
    of = Tally(rows=rows, accepted=0, dead=0, in_doubt=0, in_flight=0, pending=0, skipped={SkipReason.SUPPRESSED: rows})
    empty = report(campaign=campaign(state, entries=0), tally=of, first_attempt_at=None, last_answer_at=None)
    weight = Weight.BAD if state is CampaignState.HALTED else Weight.WARN
    assert verdict_on(empty) == (weight, said)


def test_what_cannot_be_done_is_not_advised() -> None:
    """Without the list, whatever needs it refuses; what was cancelled is never sent again."""
    before = page_of()
    assert "bulksend retry" in before.said
    assert "bulksend resolve" in before.said
    pruned = page_of(pruned=True, list_gone="the list was removed")
    assert "bulksend" not in pruned.said.partition("Counted from")[0]
    assert "--resend" not in pruned.said
    assert "then decide" not in pruned.said
    assert pruned.table("in doubt by") == [["NO_ANSWER | connection reset", "50", "100.0\u202f%"]]
    cancelled = page_of(campaign=campaign(CampaignState.CANCELLED))
    assert "bulksend retry" not in cancelled.said
    assert "bulksend resolve" in cancelled.said


def test_reasons_that_all_differ_are_taken_together() -> None:
    page = page_of(refused=kinds(*(("MESSAGE_REJECTED", f"reference {n}", 1) for n in range(1200)), ("GONE", "x", 9)))
    found = page.table("Dead mails")
    assert len(found) == 20
    first, second = ([cells[0].split(" | ")[:2], cells[1]] for cells in found[:2])
    assert first == [["MESSAGE_REJECTED", "other reasons, taken together"], "1,182"]
    assert second == [["GONE", "x"], "9"]
    assert page.said.count("Read SES's words first.") == 1, "once of a status, not of each of its reasons"


RETRIED = {
    "MESSAGE_REJECTED": "",
    "MessageRejected": "",
    "REJECT": "",
    "INVALID_PARAMETER": "",
    "BadRequestException": "",
    "DROPPED": "",
    "FORGOTTEN": "",
    "SUPPRESSED": "",
    "RENDERING_FAILURE": "bulksend retry 2026-11-launch --status RENDERING_FAILURE",
    "FAILED": "bulksend retry 2026-11-launch --status FAILED",
    "TRANSIENT_FAILURE": "bulksend retry 2026-11-launch --status TRANSIENT_FAILURE",
    "SOMETHING_NEW": "bulksend retry 2026-11-launch --status SOMETHING_NEW",
    "not; a && word": "bulksend retry 2026-11-launch",
}


@pytest.mark.parametrize("status", RETRIED)
def test_a_retry_is_advised_by_status_and_never_where_ses_would_refuse_the_same_again(status: str) -> None:
    text = render_page(report(refused=kinds((status, "why", 12)))).partition("<h2>Refused")[2].partition("<h2>")[0]
    said = html.unescape(re.sub("<[^>]*>", "", text.replace("</", " </")))
    words = " ".join(said.replace(" ", " ").split())
    found = re.findall(r"bulksend retry [^ ]+(?: --status \w+)?", words)
    assert found == [RETRIED[status]] * bool(RETRIED[status])
    assert ("SES took it for harmful" in words) is (status == "REJECT")
    mended = f"bulksend results 2026-11-launch --format list --status {status}"
    assert (mended in words) is (status in {"INVALID_PARAMETER", "BadRequestException"})


def test_why_nothing_goes_out_is_on_top() -> None:
    page = page_of(campaign=campaign(CampaignState.SENDING), held_up=("the 24-hour quota is spent",))
    assert "Nothing goes out: the 24-hour quota is spent." in page.said
    assert page.said.index("Nothing goes out") < page.said.index("mean per second")
    assert "Nothing goes out" not in page_of().said


def test_no_line_ends_before_a_per_cent_sign() -> None:
    halt = Halt("6.0 % of mails bounced, over 5 %; 100 mails", "Below 5 % it is well.")
    held_up = ("2 % of the quota is left",)
    text = render_page(report(campaign=campaign(CampaignState.HALTED, halt=halt), held_up=held_up))
    assert "6.0\u202f% of mails bounced, over 5\u202f%; 100 mails" in text
    assert "Below 5\u202f% it is well." in text
    assert "2\u202f% of the quota" in text


def test_the_state_says_when_its_schedule_lets_it_go_on_and_that_its_worker_is_gone() -> None:
    sending = report(campaign=campaign(CampaignState.SENDING, schedule=Schedule(not_before=NOON + 7200)))
    assert "by its schedule it may send again from <time" in state_in_words(sending)
    gone = replace(report(campaign=campaign(CampaignState.SENDING)), orphaned=True, by_worker=True)
    assert state_in_words(gone) == "was being sent by a worker that is gone: it goes on once a worker is there"


def test_the_mean_does_not_count_what_one_request_waited_for() -> None:
    """Of 200 s at 500/s; then one hangs, and another one's straggler comes an hour later."""
    hung = page_of(last_answer_at=NOON + 260)
    assert "mean per second 500 " in hung.said
    assert "The mean from the first request to the last acceptance is 500 a second." in hung.said
    late = report(last_answer_at=NOON + 3800).accepted
    late.add(NOON + 3799, 3)
    page = page_of(accepted=late, last_answer_at=NOON + 3800)
    assert "mean per second 500 not counting waits" in page.said
    assert "is 500 a second, not counting 1 hour of waiting in which it accepted nothing." in page.said


def test_copies_and_limits_and_what_is_not_ses_are_told() -> None:
    page = page_of(
        campaign=campaign(
            recipients=200_000,
            frozen={"sender.from": "no JSON", "limit": "104221"},
            binding=Binding("http://127.0.0.1:1", "eu-west-1", "http://127.0.0.1:1"),
        ),
        send_rate_per_s=None,
    )
    assert "to 200,000 recipients with copies" in page.said
    assert "limited to the first 104,221 of the list" in page.said
    assert "which is not SES" in page.said
    assert "as in the campaign file" in page.said
    assert "The account's send rate is not drawn" in page.said
    assert "send rate 500" not in page.said


@pytest.mark.parametrize(
    ("count", "of", "said"),
    [
        (0, 0, "–"),
        (0, 9, "0.0 %"),
        (1, 10**6, "< 0.1 %"),
        (1, 1000, "0.1 %"),
        (10**6 - 1, 10**6, "> 99.9 %"),
        (9, 9, "100.0 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_shares(count: int, of: int, said: str) -> None:
    assert share(count, of).replace("\u202f", " ") == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0.00 %"), (1, "< 0.01 %"), (14, "0.01 %"), (99_999, "> 99.99 %"), (100_000, "100.00 %")]
)
def test_shares_by_hundredths(count: int, said: str) -> None:
    assert share(count, 100_000, finely=True).replace("\u202f", " ") == said


@pytest.mark.parametrize(
    ("duration_s", "said"),
    [
        (0.0, "0 ms"),
        (0.0123, "12.3 ms"),
        (1.25, "1.25 s"),
        (59.6, "1 minute"),
        (3661, "1 hour 1 minute"),
        (86_400 * 3 + 7200 + 5, "3 days 2 hours"),
    ],
)
def test_durations_in_words(duration_s: float, said: str) -> None:
    assert duration_in_words(duration_s) == said


@given(st.text(max_size=50), st.integers(1, 40))
def test_texts_of_others_are_bounded_and_seen(text: str, most: int) -> None:
    found = bounded(text, most)
    assert len(found) <= most
    assert found.isprintable() or all(c.isprintable() or c in "\u200c\u200d" or c.isspace() for c in found)
    assert html.unescape(html.escape(found)) == found


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ada.lovelace@example.com", "a***@example.com"),
        ("al@example.com", "***@example.com"),
        ("x@example.com", "***@example.com"),
        ("forgotten", "forgotten"),
        ("0123456789", "***"),
    ],
)
def test_masking(address: str, shown: str) -> None:
    assert masked(address) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no address here", "no address here"),
        ("<a.b@example.com>, c@example.org: no", "<[address]>, [address]: no"),
        ("ab@example.com " * 400, ("[address] " * 400)[:300]),
        ("x" * 5000, "x" * 300),
        ("y" * 5000 + "@", "…"),
        ("m@example.com " * 142 + "anna.lovelace@example.com", ("[address] " * 142)[:300]),
    ],
)
def test_addresses_are_taken_out_of_others_texts(text: str, shown: str) -> None:
    assert _plain(text) == shown


def test_the_style_sheet_is_in_the_package() -> None:
    assert Path(__file__).parents[2].joinpath("bulksend", "report", "page.css").is_file()
