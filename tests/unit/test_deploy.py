"""What is in deploy/ against the code and the documents, as far as Python alone can tell; tests/deploy has the rest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore import xform_name

import bulksend
from bulksend.config import load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCUMENT = ROOT / "docs" / "DEPLOYMENT.md"
PINS = re.compile(r"(?m)^([a-z0-9-]+)==(\S+)")


def called() -> set[str]:
    """The IAM actions of all calls of SES in the source."""
    return calls_of("ses", "sesv2", "ses")


def calls_of(room: str, service: str, prefix: str) -> set[str]:
    """The IAM actions of all calls of a service that a room's source makes."""
    text = "".join(file.read_text("utf-8") for file in sorted((ROOT / "bulksend" / room).glob("*.py")))
    names = botocore.session.get_session().get_service_model(service).operation_names
    written = re.compile(r"""\.([a-z_]+)\b|["']([A-Za-z_]+)["']""")
    found = {one or other for one, other in written.findall(text)}
    return {f"{prefix}:{name}" for name in names if found & {name, xform_name(name)}}


def granted(policy: str = "policy.json") -> set[str]:
    statements = json.loads((DEPLOY / "aws" / policy).read_text("utf-8"))["Statement"]
    lists = [statement["Action"] for statement in statements]
    return {action for found in lists for action in ([found] if isinstance(found, str) else found)}


def test_the_policy_grants_the_calls_that_the_source_makes_and_no_others() -> None:
    ours = {action for action in granted() if action.startswith("ses:")}
    assert ours <= called()
    # What only an operator asks for by a verb of its own is in a policy of its own, or on the verb's page.
    apart = called() - ours - granted("events-setup-policy.json")
    page = (ROOT / "docs" / "multi-region.md").read_text("utf-8")
    assert apart == {f"ses:{name}MultiRegionEndpoint" for name in ("Create", "Delete", "Get")}, (
        "of a person who makes endpoints"
    )
    assert [action for action in apart if action not in page] == []
    folder = (ROOT / "bulksend/recipients/s3.py").read_text("utf-8")
    assert {action for action in granted() if action.startswith("s3:")} == set(re.findall(r"s3:[A-Z]\w+", folder))


def test_what_carries_events_is_asked_as_the_policies_say() -> None:
    """The worker's, what events setup prints, and that of whoever sets up: no more is asked for."""
    printed = {"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage", "sqs:SendMessage"}
    allowed = granted() | granted("events-setup-policy.json") | printed
    batches = {f"{action}Batch" for action in printed}  # SQS API reference: the action without Batch allows them
    for service, prefix in (("sqs", "sqs"), ("sns", "sns"), ("events", "events"), ("cloudwatch", "cloudwatch")):
        assert calls_of("events", service, prefix) - batches <= allowed
    # What only looks is the worker's, too: events status is typed where it runs.
    looking = re.compile(r"cloudwatch:Get|sns:ListS|events:(DescribeRule|ListRuleNames)")
    assert {action for action in granted() if not action.startswith(("ses:", "s3:"))} == {
        action for action in granted("events-setup-policy.json") if looking.match(action)
    }


def test_the_image_has_the_pins_of_everything_else_a_fleets_libraries_and_those_of_endpoints() -> None:
    base, dev, image, build = (
        dict(PINS.findall((ROOT / "requirements" / f"{name}.txt").read_text("utf-8")))
        for name in ("base", "dev", "image", "build")
    )
    assert base.items() <= image.items()
    assert image.items() <= dev.items(), "what is tested is what is shipped"
    assert {"psycopg", "psycopg-binary", "psycopg-pool", "procrastinate", "awscrt"} <= image.keys()
    assert build.items() <= dev.items()
    assert "hatchling" in build
    # On a machine without a container, too: nothing comes without its hash, the tools that build the package included.
    lines = re.findall(r"(?m)^# /opt/bulksend/bin/pip install (.+)$", DOCUMENT.read_text("utf-8"))
    assert lines == [
        "--require-hashes --requirement requirements/image.txt --requirement requirements/build.txt",
        "--no-deps --no-build-isolation .",
    ]
    assert all(build[name] == image[name] for name in build.keys() & image.keys())


def test_the_image_is_exact_unprivileged_and_ends_on_sigterm() -> None:
    text = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")
    bases = re.findall(r"(?m)^FROM (\S+)", text)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", bases[0])
    assert re.search(r"(?m)^USER [1-9]\d*:[1-9]\d*$", text)
    assert re.search(r"(?m)^STOPSIGNAL SIGTERM$", text)
    assert re.search(r'(?m)^ENTRYPOINT \["bulksend"\]\nCMD \["worker"\]', text)
    installs = re.findall(r"(?:pip install)[^&\n]*", text)
    assert all("--require-hashes" in one or "--no-deps --no-index" in one for one in installs), installs
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if line.startswith("!"):
            assert (ROOT / line[1:]).exists(), line


def test_all_wait_longer_than_the_worker_whose_settings_are_the_defaults() -> None:
    grace_s = load_settings(None, {}, {}).worker.grace_s
    unit = (DEPLOY / "systemd" / "bulksend-worker.service").read_text("utf-8")
    compose: Any = yaml.safe_load((DEPLOY / "compose" / "compose.yml").read_text("utf-8"))
    deployment: Any = next(yaml.safe_load_all((DEPLOY / "kubernetes" / "worker.yaml").read_text("utf-8")))
    waits = {
        int(found)
        for found in (
            *re.findall(r"(?m)^TimeoutStopSec=(\d+)$", unit),
            compose["services"]["worker"]["stop_grace_period"].removesuffix("s"),
            deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
        )
    }
    assert len(waits) == 1, "one number everywhere, and in the document"
    (most_s,) = waits
    assert most_s > grace_s + 10
    assert f"| {most_s} s |" in DOCUMENT.read_text("utf-8")
    assert f"| {grace_s:.0f} s |" in DOCUMENT.read_text("utf-8")


@pytest.mark.parametrize("folder", ["systemd", "kubernetes"])
def test_settings_load_take_events_and_have_no_secret(folder: str) -> None:
    file = DEPLOY / folder / "config.toml"
    settings = load_settings(file, {}, {})
    assert settings.aws.region is not None
    assert settings.events.queues, "without them nobody is suppressed, nothing settled, and no breaker judges"
    assert not re.search(
        r"(?i)AKIA|password|secret_|://[^/@]+:[^/@]+@", file.read_text("utf-8").partition("store =")[2]
    )


@pytest.mark.parametrize("page", [DOCUMENT, DEPLOY / "README.md"], ids=lambda path: path.name)
def test_pages_name_files_that_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"(?m)^## (.+)$", text)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
    for path in re.findall(r"\b(?:deploy|requirements)/[\w./-]*\w", text):
        assert (ROOT / path).exists(), path


def test_the_pages_name_every_folder_and_the_systemd_unit_needs_no_more_than_they_make() -> None:
    folders = {path.name for path in DEPLOY.iterdir() if path.is_dir()}
    assert set(re.findall(r"(?m)^\| `(\w+)/` \|", (DEPLOY / "README.md").read_text("utf-8"))) == folders
    unit = "".join(path.read_text("utf-8") for path in sorted((DEPLOY / "systemd").glob("*.service")))
    needed = set(re.findall(r"(?<!\w)/(?:etc|opt)/bulksend/[\w./-]*\w", unit))
    text = DOCUMENT.read_text("utf-8")
    assert needed == {
        "/opt/bulksend/bin/bulksend",
        "/etc/bulksend/config.toml",
        "/etc/bulksend/token",
        "/etc/bulksend/environment",
    }
    assert [path for path in needed if path not in text] == []


def test_versions_are_this_one() -> None:
    for file in ("compose/compose.yml", "kubernetes/kustomization.yaml"):
        assert re.findall(r"(?:bulksend:|newTag: \")(\d[\d.]+)", (DEPLOY / file).read_text("utf-8")) == [
            bulksend.__version__
        ]
