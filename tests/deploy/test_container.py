"""The container image, without a container engine: its build replayed, and what was built run as it will be there.

What this cannot see: whether the base image has the tag, and the kernel's side of a container.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bulksend.simulator import SimulatorProcess
from tests.deploy.dockerfile import DOCKERFILE, context, replay, stages
from tests.worker_process import WITHIN_S, until

UID = 10001
TOKEN = "0123456789abcdef0123456789abcdef"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    """/opt/bulksend as the build makes it, below a folder that everybody may look into."""
    folder = Path(tempfile.mkdtemp(prefix="bulksend-image-"))
    folder.chmod(0o755)
    try:
        made = replay(folder)
        shutil.rmtree(folder / "cache", ignore_errors=True)
        probe = next(one for one in stages()[1].instructions if one.rest.startswith("deploy/docker/probe.py"))
        shutil.copy(DOCKERFILE.parent / "probe.py", folder / probe.rest.split()[1].removeprefix("/"))
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def volume() -> Iterator[Path]:
    """The one folder that may be written to."""
    folder = Path(tempfile.mkdtemp(prefix="bulksend-volume-"))
    if os.geteuid() == 0:
        os.chown(folder, UID, UID)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def unprivileged(command: list[str]) -> list[str]:
    """As the image's user, where this is root: it may read everything (Python may be in root's home), not write."""
    if os.geteuid() != 0:
        return command
    caps = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    bounds = "--bounding-set=-all,+dac_read_search,+setuid,+setgid,+setpcap"
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *caps, bounds, "--no-new-privs", *command]


def environment(built: Path, volume: Path, **more: str) -> dict[str, str]:
    """The image's ENV, at the places of here."""
    image = stages()[1].environment()
    assert image.keys() == {"PATH", "HOME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    image |= {"PATH": f"{built / 'bin'}:{os.defpath}", "HOME": str(volume)}
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return {**image, **aws, "TMPDIR": str(volume), **more}


@contextmanager
def worker(built: Path, volume: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """What ENTRYPOINT and CMD start."""
    command = [*stages()[1].only("ENTRYPOINT").listed(), *stages()[1].only("CMD").listed()]
    process = subprocess.Popen(
        unprivileged(command), cwd=volume, env=environment(built, volume, **more), stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def health(built: Path, volume: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The image's HEALTHCHECK."""
    command = [word.replace("/opt/bulksend", str(built)) for word in stages()[1].only("HEALTHCHECK").listed()]
    return subprocess.run(
        unprivileged(command),
        cwd=volume,
        env=environment(built, volume, **more),
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run(["hadolint", str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_what_the_image_needs_is_sent_to_the_builder() -> None:
    let_in = {str(path) for path in context()}
    assert {"pyproject.toml", "bulksend/cli/app.py", "bulksend/journal/schema.sql", "requirements/image.txt"} <= let_in
    assert not [
        path for path in let_in if re.search(r"\.bulksend|__pycache__|\.git/|tests/|\.env|\.csv|config\.toml", path)
    ]


def test_what_was_built_starts_and_has_all_libraries(built: Path, volume: Path) -> None:
    fleet = "import psycopg, psycopg_pool, procrastinate; psycopg.pq.version()"
    endpoints = "import awscrt.auth, botocore.compat; assert botocore.compat.HAS_CRT"
    for command in (
        ["bulksend", "--help"],
        ["python", "-c", "import uvloop, httptools"],
        ["python", "-c", fleet],
        ["python", "-c", endpoints],
    ):
        done = subprocess.run(
            unprivileged(command),
            cwd=volume,
            env=environment(built, volume),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    package = next(built.glob("lib/python3*/site-packages/bulksend"))
    assert list(package.glob("__pycache__/model.*.pyc")), (
        "modules are compiled in the build: nobody may write them later"
    )


def test_a_worker_runs_where_nothing_but_its_volume_can_be_written(
    built: Path, volume: Path, simulator: SimulatorProcess
) -> None:
    before = tree(built)
    own = {"BULKSEND_HTTP_LISTEN": f"127.0.0.1:{free_port()}", "BULKSEND_STORE": "sqlite:."}
    with worker(built, volume, BULKSEND_AWS_ENDPOINT_URL=simulator.url, **own) as process:
        until(lambda: health(built, volume, **own).returncode == 0 or process.poll() is not None, "it is healthy")
        assert process.poll() is None, process.communicate()[1]
        if os.geteuid() == 0:
            status = Path(f"/proc/{process.pid}/status").read_text("ascii")
            assert re.search(rf"(?m)^Uid:\s+{UID}\s+{UID}\s+{UID}", status)
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
        assert time.monotonic() - began_s < WITHIN_S
        down = health(built, volume, **own)
        assert (down.returncode, down.stderr) == (1, "no answer: ConnectionRefusedError\n")
    assert tree(built) == before


def test_the_health_check_finds_the_token_where_the_worker_does(
    built: Path, volume: Path, simulator: SimulatorProcess
) -> None:
    for name in ("token", "wrong"):
        (volume / name).write_text(TOKEN if name == "token" else TOKEN[::-1], "ascii")
        (volume / name).chmod(0o400)
        if os.geteuid() == 0:
            os.chown(volume / name, UID, UID)
    (volume / "config.toml").write_text(
        'store = "sqlite:."\n'
        f'[aws]\nendpoint_url = "{simulator.url}"\n'
        f'[http]\nlisten = "0.0.0.0:{free_port()}"\ntoken_file = "token"\n',
        "utf-8",
    )
    with worker(built, volume) as process:
        until(lambda: health(built, volume).returncode == 0 or process.poll() is not None, "it is healthy")
        assert process.poll() is None, process.communicate()[1]
        wrong = health(built, volume, BULKSEND_HTTP_TOKEN_FILE=str(volume / "wrong"))
        assert wrong.returncode == 1
        assert TOKEN[::-1] not in wrong.stdout + wrong.stderr
        elsewhere = health(built, volume, BULKSEND_HTTP_LISTEN="127.0.0.1:1")
        assert elsewhere.returncode == 1


def test_what_takes_events_apart_is_asked_by_the_same_health_check(built: Path, volume: Path) -> None:
    with SimulatorProcess(events=True) as account:
        listen = f"127.0.0.1:{free_port()}"
        own = {
            "BULKSEND_HTTP_LISTEN": listen,
            "BULKSEND_STORE": "sqlite:.",
            "BULKSEND_AWS_ENDPOINT_URL": account.url,
            "BULKSEND_EVENTS_ENDPOINT_URL": account.url,
            "BULKSEND_EVENTS_QUEUES": account.events_queue_url,
        }
        command = [*stages()[1].only("ENTRYPOINT").listed(), "events", "consume", "--listen", listen]
        process = subprocess.Popen(
            unprivileged(command), cwd=volume, env=environment(built, volume, **own), stderr=subprocess.PIPE, text=True
        )
        try:
            until(lambda: health(built, volume, **own).returncode == 0 or process.poll() is not None, "it is healthy")
            assert process.poll() is None, process.communicate()[1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == 0
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()
