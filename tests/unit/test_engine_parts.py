from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.engine.backlog import PARK_AFTER_S, Backlog
from bulksend.engine.circuit import Circuit
from bulksend.engine.flight import FlightSize
from bulksend.engine.remedies import (
    MAX_SEARCHED,
    account_halt,
    campaign_halt,
    clock_halt,
    credentials_halt,
    doubtful_probes_halt,
    streak_halt,
    without_addresses,
)
from bulksend.engine.streak import RefusalStreak
from bulksend.ledger import Ledger
from bulksend.model import Batch, BatchKind, Chunk, EntryOutcome, EntryState, Verdict


def chunk(recipients: Sequence[int], number: int = 0) -> Chunk:
    pieces = [b'{"n":%d},' % n for n in range(len(recipients))]
    offsets = [0]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    return Chunk(number, range(1, len(pieces) + 1), recipients, offsets, memoryview(b"".join(pieces)))


def backlog(recipients: Sequence[int]) -> Backlog:
    made = Backlog("c")
    made.offer([0])
    made.add(chunk(recipients), Ledger.blank(len(recipients)), 0.0)
    return made


@given(st.lists(st.integers(1, 8), min_size=1, max_size=200), st.integers(1, 50))
def test_batching_keeps_order_and_count(recipients: list[int], most: int) -> None:
    waiting = backlog(recipients)
    sent: list[int] = []
    while (batch := waiting.take(most, 0.0)) is not None:
        assert batch.recipients == sum(recipients[i] for i in batch.indices)
        assert batch.recipients <= max(most, recipients[batch.indices[0]])
        assert len(batch.indices) <= 50
        assert bytes(batch.payload()).count(b"{") == len(batch.indices)
        sent.extend(batch.indices)
    assert sent == list(range(len(recipients)))


@given(st.lists(st.integers(0, 29), unique=True, min_size=1))
def test_a_payload_is_its_entries_joined(indices: list[int]) -> None:
    held = chunk([1] * 30)
    payload = Batch("c", held, sorted(indices), len(indices), BatchKind.RETRY, 0).payload()
    assert payload == b",".join(b'{"n":%d}' % i for i in sorted(indices))


def test_halves_then_due_retries_then_the_untried() -> None:
    waiting = backlog([1] * 10)
    first = waiting.take(4, 0.0)
    assert first is not None
    opened = waiting[0]
    opened.in_flight -= 1
    opened.retry(0, 0.0, 0.0)
    opened.retry(1, 5.0, 0.0)
    opened.splits.append(([2, 3], first.origin))
    taken = [waiting.take(4, 0.0) for _ in range(4)]
    assert [(b.kind, list(b.indices)) for b in taken if b] == [
        (BatchKind.SPLIT, [2, 3]),
        (BatchKind.RETRY, [0]),
        (BatchKind.FIRST, [4, 5, 6, 7]),
        (BatchKind.FIRST, [8, 9]),
    ]
    assert waiting.next_at() == 5.0
    late = waiting.take(4, 5.0)
    assert late is not None
    assert list(late.indices) == [1]


def test_what_only_waits_for_long_is_given_back_and_offered_again() -> None:
    waiting = backlog([1])
    batch = waiting.take(1, 0.0)
    assert batch is not None
    waiting[0].in_flight -= 1
    waiting[0].retry(0, PARK_AFTER_S + 1.0, 0.0)
    assert waiting.park(0.0) == [(0, PARK_AFTER_S + 1.0)]
    assert waiting.next_unopened is None
    assert waiting.empty
    waiting.offer([0])
    assert waiting.wants_more(100)
    assert waiting.next_unopened == 0


def test_a_probe_is_one_entry() -> None:
    batch = backlog([1] * 10).take(50, 0.0, probe=True)
    assert batch is not None
    assert (len(batch.indices), batch.kind) == (1, BatchKind.PROBE)


def mid(low: float, high: float) -> float:
    return (low + high) / 2


def test_the_circuit_opens_at_ten_of_twenty_and_a_real_answer_closes_it() -> None:
    circuit = Circuit(mid)
    for n in range(9):
        assert not circuit.note([Verdict.TRANSIENT] * 3, float(n), probe=False)
    for n in range(9, 18):
        assert not circuit.note([Verdict.ACCEPTED, Verdict.TRANSIENT], float(n), probe=False)
    assert circuit.note([Verdict.UNREACHABLE], 18.0, probe=False)
    assert circuit.is_open
    probe_at = circuit.probe_at
    assert not circuit.note([Verdict.IN_DOUBT], 19.0, probe=False), "stragglers neither close nor lengthen it"
    assert circuit.probe_at == probe_at
    assert not circuit.note([Verdict.TRANSIENT], 20.0, probe=True)
    assert circuit.probe_at - 20.0 > probe_at - 18.0
    assert circuit.note([Verdict.DEAD], 30.0, probe=True)
    assert not circuit.is_open


def test_ten_probes_in_doubt_are_hopeless_but_only_in_a_row() -> None:
    circuit = Circuit(mid)
    for _ in range(10):
        circuit.note([Verdict.IN_DOUBT], 0.0, probe=False)
    for _ in range(9):
        circuit.note([Verdict.IN_DOUBT], 0.0, probe=True)
    assert not circuit.hopeless
    circuit.note([Verdict.TRANSIENT], 0.0, probe=True)
    for _ in range(10):
        assert not circuit.hopeless
        circuit.note([Verdict.IN_DOUBT], 0.0, probe=True)
    assert circuit.hopeless


def refused(streak: RefusalStreak, origin: int, count: int, status: str = "MESSAGE_REJECTED") -> None:
    batch = Batch("c", chunk([1] * 50), range(50), 50, BatchKind.FIRST, origin)
    for i in range(count):
        streak.note(origin, batch, i, EntryOutcome(Verdict.DEAD, status, "no"))


def test_a_streak_needs_twenty_entries_of_two_batches() -> None:
    one_batch = RefusalStreak()
    refused(one_batch, 1, 50)
    assert not one_batch.tripped
    two = RefusalStreak()
    refused(two, 1, 10)
    refused(two, 2, 9)
    assert (two.tripped, len(two.entries)) == (False, 19)
    refused(two, 2, 1)
    assert (two.tripped, len(two.entries)) == (True, 20)


def test_an_acceptance_or_another_reason_ends_a_streak() -> None:
    streak = RefusalStreak()
    refused(streak, 1, 19)
    batch = Batch("c", chunk([1] * 2), range(2), 2, BatchKind.FIRST, 2)
    streak.note(2, batch, 0, EntryOutcome(Verdict.ACCEPTED, "SUCCESS"))
    refused(streak, 3, 10)
    refused(streak, 4, 9, "INVALID_PARAMETER")
    refused(streak, 5, 10, "INVALID_PARAMETER")
    assert (streak.tripped, len(streak.entries)) == (False, 19)
    refused(streak, 5, 1, "INVALID_PARAMETER")
    assert (streak.tripped, len(streak.entries)) == (True, 20)


def test_flights_follow_the_pace() -> None:
    size = FlightSize(cap=64)
    for _ in range(64):
        size.note(0.1)
    assert size.limit(500.0, 50) == 3
    assert size.limit(5000.0, 50) == 12
    assert size.limit(1e6, 50) == 64
    assert size.limit(1.0, 1) == 3


def test_a_chunk_resumes_from_its_ledger() -> None:
    ledger = Ledger.blank(6)
    ledger.states[0] = EntryState.ACCEPTED
    ledger.states[3] = EntryState.IN_DOUBT
    waiting = Backlog("c")
    waiting.offer([0])
    waiting.add(chunk([1] * 6), ledger, 0.0)
    batches = []
    while (batch := waiting.take(50, 0.0)) is not None:
        batches.append(list(batch.indices))
    assert batches == [[1, 2], [4, 5]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Address ada@example.com is bad", "Address [address] is bad"),
        ("a.b@example.com, <c@example.org>.", "[address], <[address]>."),
        ("ADA@EXAMPLE.COM. Try 'ada@example.com'.", "[address]. Try '[address]'."),
        ('{"to": "ada@example.com"}', '{"to": "[address]"}'),
        ('Address "ada smith"@example.com is bad', "Address [address] is bad"),
        ('said "no" to "ada smith"@example.com', 'said "no" to [address]'),
        (r'{"to": "\"ada, smith\"@example.com"}', r'{"to": "\[address]"}'),
        ('"a@b\\"c"@example.com', "[address]"),
        ("mary-ann.o'neil@example.com", "[address]"),
        ("o''neil@example.com 'o'neil@example.com'", "[address] '[address]'"),
        ("Address ada%40example.com is bad", "Address [address] is bad"),
        ("?to=ada%2540example.com", "[address]"),
        ("ada\uff20example.com, ada\ufe6bexample\u3002com", "[address], [address]"),
        ("&#64; ada&#64;example.com &lt;ada&#x40;example.com&gt;", "&#64; [address] &lt;[address];"),
        ("ada&commat;example.com", "[address]"),
        ("=?utf-8?q?ada=40example.com?= and =?utf-8?q?ada=40example=2Ecom?=", "[address] and [address]"),
        (r"ada\u0040example.com", "[address]"),
        ("ada@[192.0.2.1] ada@[IPv6:2001:db8::1] ada@localhost", "[address] [address] [address]"),
        ("identity/ada@example.com in eu-west-1", "[address] in eu-west-1"),
    ],
)
def test_addresses_are_taken_out_however_they_are_written(text: str, shown: str) -> None:
    assert without_addresses(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Don't: the template 'launch' isn't there; say \"please\", <b>.",
        "size=4096 of 100%40 and a=40.5 or b=40, 'x'",
        "@handle, a @ b, @, &#64; &#640; user@",
        "x" * 20_000,
    ],
)
def test_a_text_without_addresses_stays_as_it_is(text: str) -> None:
    assert without_addresses(text) == text


ATOMS = st.text("abcxyzABC019!#$&'*+-/=?^_`{|}~.äß", min_size=1, max_size=64)
QUOTED = st.text("abc \t,;:<>@()[].'", min_size=1, max_size=62).map('"{}"'.format)
DOMAINS = st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True), min_size=1, max_size=4)
SIGNS = ("@", "\uff20", "&#64;", "&#x40;", "%40", "=40")
PLAIN = st.text("abc XYZ 123 .,;:<>()'\"", max_size=60)


@given(PLAIN, st.one_of(ATOMS, QUOTED), st.sampled_from(SIGNS), DOMAINS, PLAIN)
def test_no_address_survives(before: str, local: str, sign: str, labels: list[str], after: str) -> None:
    domain = ".".join([*labels, "com"])
    shown = without_addresses(f"{before} {local}{sign}{domain} {after}")
    assert "[address]" in shown
    assert domain not in shown
    assert local.strip("'") not in shown.replace("[address]", "") or local.strip("'") in f"{before} {after}"
    assert without_addresses(shown) == shown


@given(st.text("a@\"\\' .%40=&#64;", max_size=9000))
def test_what_is_searched_is_bounded(text: str) -> None:
    shown = without_addresses(text)
    assert shown == text or len(shown) <= MAX_SEARCHED * len("[address]") / len("a@b") + 1


@pytest.mark.parametrize("before", ["word ", "x,", '"', "x" * 600 + " "])
@pytest.mark.parametrize("address", ["ada.lovelace%40example.com", '"ada lovelace smith"@example.com'])
def test_an_address_that_is_cut_in_two_does_not_survive(before: str, address: str) -> None:
    """It ends wherever the search ends, or near that."""
    for end in range(MAX_SEARCHED - 40, MAX_SEARCHED + 50):
        begin = (before * MAX_SEARCHED)[: end - len(address) - 1]
        shown = without_addresses(f"{begin} {address} and b@example.com {'z' * 50}")
        assert "lovelace" not in shown
        assert "example" not in shown
        assert shown.endswith("…") or len(begin) < MAX_SEARCHED - 120
        assert len(shown) > MAX_SEARCHED - 1200, "not much is left out"


@pytest.mark.parametrize("text", ["a" * 20_000 + " @", '"' * 20_000 + "@", '\\"' * 10_000 + "@", "=40" * 9000 + "@"])
def test_a_long_text_is_not_searched_to_its_end(text: str) -> None:
    assert len(without_addresses(text)) <= MAX_SEARCHED + 1


def test_remedies_leave_it_to_whoever_shows_them_how_to_go_on() -> None:
    """A campaign is resumed, whoever sends it then; a rehearsal is not."""
    said = ["template", "ConfigurationSetSendingPaused", "configuration set", "pool", "mail from", "what nobody knows"]
    halts = [campaign_halt(one, "") for one in said]
    halts += [make("X", "") for make in (account_halt, credentials_halt)]
    halts += [credentials_halt("X", "", by_endpoint=True), clock_halt(by_endpoint=True)]
    halts += [clock_halt(), doubtful_probes_halt(), streak_halt("X", "", 20)]
    assert [halt.remedy for halt in halts if "send again" in halt.remedy or "resume" in halt.remedy] == []


def test_what_is_said_of_an_endpoint_is_said_where_ses_names_one() -> None:
    gone = ("NotFoundException", "Multi-region endpoint abc12345.xyz does not exist.")
    assert campaign_halt(*gone, endpoint_remedy="Cancel it.").remedy == "Cancel it."
    assert streak_halt("BadRequestException", "EndpointId: not READY", 20, "Cancel it.").remedy == "Cancel it."
    for other in (("TemplateDoesNotExist", ""), ("UnknownOperationException", "The endpoint has no such operation")):
        assert campaign_halt(*other, endpoint_remedy="Cancel it.") == campaign_halt(*other)
    assert campaign_halt(*gone).remedy.startswith("See that the template")
