"""Full disks, folders that cannot be written, stores on a network: clear words, nothing lost, nothing twice."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bulksend.errors import JournalError
from bulksend.journal.filesystem import refuse_network
from bulksend.simulator import SimulatorProcess
from tests.acceptance.test_cli import bulksend
from tests.harness import REGION, Desk
from tests.integration.test_outcomes import good

LIMIT_BYTES = 200 * 1024


def full_disk() -> None:
    """No file of this process grows beyond the limit: to a program that is a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))


def test_a_full_disk_stops_before_an_intent_is_lost(tmp_path: Path) -> None:
    with SimulatorProcess(max_send_rate_per_s=5000.0, latency_ms=20) as simulator:
        desk = Desk(tmp_path, simulator.url)
        campaign = desk.plan(good(4000))
        command = [
            *(sys.executable, "-m", "bulksend", "send", str(tmp_path / "campaign.toml"), "--yes", "--output", "json"),
            *("--endpoint-url", simulator.url, "--region", REGION),
        ]
        full = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=full_disk,  # noqa: PLW1509
        )
        _, said = full.communicate(timeout=55)
        assert full.returncode == 5
        assert "The journal cannot be used" in said
        assert "what to do" in said
        assert "Traceback" not in said
        before = desk.store().journal.tally(campaign)
        assert before.adds_up
        assert 0 < before.accepted < 4000
        again = bulksend("send", str(tmp_path / "campaign.toml"), "--yes", "--output", "json", url=simulator.url)
        facts = json.loads(again.stdout)
        theirs = simulator.tally(campaign.id)
    assert theirs["copies"] == []
    assert facts["pending"] == 0
    assert facts["accepted"] <= theirs["accepted"] <= facts["accepted"] + facts["in_doubt"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bulksend", "worker", "--store", "sqlite:/proc/nowhere"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 5
    assert "/proc/nowhere" in done.stderr
    assert "Traceback" not in done.stderr


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/root rw
31 22 0:40 / /mnt/share rw,relatime - nfs4 server:/share rw
32 31 8:2 / /mnt/share/local\\040disk rw - ext4 /dev/sdb rw
33 22 0:41 / /home/me/remote rw - fuse.sshfs me@host: rw
34 22 0:42 / /mnt/Büro\\134a\\040日 rw - nfs4 server:/share rw
35 22 0:43 / /mnt/jfs rw - fuse.juicefs JuiceFS:pics rw
36 22 0:44 / /mnt/bucket rw - fuse mountpoint-s3 rw
37 22 0:45 / /mnt/sealed rw - fuse.gocryptfs /home/me/.sealed rw
"""


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, "utf-8")
    for good_place in ("/srv/store", "/mnt/share/local disk/store", "/mnt/sharealike", "/mnt/sealed"):
        refuse_network(Path(good_place), mounts)
    strange = "/mnt/Büro\\a 日/store"
    for bad_place in ("/mnt/share/store", "/home/me/remote", strange, "/mnt/jfs", "/mnt/bucket/store"):
        with pytest.raises(JournalError, match="network file system") as caught:
            refuse_network(Path(bad_place), mounts)
        assert "PostgreSQL" in caught.value.hint
    refuse_network(tmp_path, tmp_path / "no such file")
