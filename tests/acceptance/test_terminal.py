"""What a person at a terminal sees."""

from __future__ import annotations

import os
import pty
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bulksend.simulator import SimulatorProcess
from tests.acceptance.test_cli import CAMPAIGN, bulksend, command, sending
from tests.harness import write_list


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 2000, "latency_ms": 1}


@pytest.fixture
def folder(in_folder: Path) -> Path:
    (in_folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    write_list(in_folder / "list.csv", [f"a{n}@example.com" for n in range(20)])
    return in_folder


def at_terminal(
    *arguments: str, typed: bytes = b"", once: str = "?", after_looks: Callable[[], None] | None = None
) -> tuple[int, str]:
    """Run a command on a terminal of its own.

    `typed` is typed as soon as it has shown `once`; `after_looks` is called when it has shown two looks.
    """
    child, terminal = pty.fork()
    if child == 0:
        words = command(*arguments)
        os.execv(words[0], words)  # noqa: S606  it takes the place of this process, on the terminal
    shown = b""
    deadline_s = time.monotonic() + 50
    while time.monotonic() < deadline_s:
        try:
            more = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        shown += more
        if typed and once.encode() in shown:
            os.write(terminal, typed)
            typed = b""
        if after_looks is not None and shown.count(b"rows read") > 1:
            after_looks()
            after_looks = None
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()


def lines_of(shown: str) -> list[str]:
    """What stands on the screen at the end: lines that were drawn anew count as they were drawn last."""
    screen = [""]
    row = 0
    for piece in re.findall(r"\x1b\[[0-9?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", shown):
        if piece == "\n":
            row += 1
            if row == len(screen):
                screen.append("")
        elif piece.startswith("\x1b"):
            if piece.endswith("A"):
                row = max(0, row - int(piece[2:-1] or 1))
            elif piece.endswith("K"):
                screen[row] = ""
        elif piece != "\r":
            screen[row] += piece
    return screen


def test_a_question_that_is_left_at_the_end_of_input_means_no(folder: Path, simulator: SimulatorProcess) -> None:
    at = ("--endpoint-url", simulator.url, "--region", "eu-west-1")
    code, shown = at_terminal("send", "campaign.toml", *at, typed=b"\x04", once="[y/N]")
    assert code == 2
    assert "Nothing was sent. The plan is kept" in shown
    assert "error" not in shown
    assert simulator.tally()["requests"] == 0
    assert folder.is_dir()


def test_a_look_takes_the_place_of_the_one_before(folder: Path, simulator: SimulatorProcess) -> None:
    with sending(folder, simulator) as sender:
        code, shown = at_terminal("status", "launch", "--watch", after_looks=lambda: sender.send_signal(signal.SIGINT))
        sender.communicate(timeout=50)
    assert code == 0
    assert shown.count("rows read") > 1, "there was more than one look"
    screen = lines_of(shown)
    assert sum("rows read" in line for line in screen) == 1
    assert sum("launch is paused" in line for line in screen) == 1


def test_who_is_refused_sees_no_progress(folder: Path, simulator: SimulatorProcess) -> None:
    with sending(folder, simulator):
        code, shown = at_terminal("resume", "launch", "--endpoint-url", simulator.url)
    assert code == 6
    assert "is sending 'launch'" in shown
    assert "accepted" not in shown
    assert "━" not in shown


def test_on_a_terminal_a_halt_is_said_in_words_alone(folder: Path, simulator: SimulatorProcess) -> None:
    bulksend("plan", "campaign.toml", url=simulator.url)
    simulator.rules([{"fault": "template_not_found", "share": 1.0}])
    code, shown = at_terminal("resume", "launch", "--endpoint-url", simulator.url)
    assert code == 5
    assert "SES refused the campaign" in shown
    assert "scope=" not in shown
    assert folder.is_dir()
