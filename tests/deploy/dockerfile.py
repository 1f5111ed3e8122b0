"""A Dockerfile's instructions, and its build stage replayed in a folder: there need be no container engine for that."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
STEP_WITHIN_S = 240.0


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continuation lines joined."""

    word: str
    rest: str

    def listed(self) -> list[str]:
        """The JSON list of an exec form, after flags and CMD of HEALTHCHECK. Raises ValueError for a shell form."""
        found: list[str] = json.loads(self.rest[self.rest.index("[") :])
        return found


@dataclass(slots=True)
class Stage:
    """What follows one FROM."""

    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def only(self, word: str) -> Instruction:
        """The one instruction of that word."""
        (found,) = (one for one in self.instructions if one.word == word)
        return found

    def environment(self) -> dict[str, str]:
        """All of its ENV."""
        pairs = " ".join(one.rest for one in self.instructions if one.word == "ENV")
        return dict(re.findall(r"(\w+)=(\S+)", pairs))


def stages() -> list[Stage]:
    """Of the project's Dockerfile, in order."""
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text("utf-8")).replace("\\\n", " ")
    found: list[Stage] = []
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            found.append(Stage(rest))
        elif word:
            found[-1].instructions.append(Instruction(word, re.sub(r"\s+", " ", rest)))
    return found


def context() -> Iterator[Path]:
    """The files of the project that .dockerignore lets into a build, relative to its top; the last match decides."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    named = [ROOT / line[1:] for line in patterns if line.startswith("!")]
    for file in (file for top in named for file in ([top] if top.is_file() else sorted(top.rglob("*")))):
        path = file.relative_to(ROOT)
        if file.is_file() and _is_let_in(path, patterns):
            yield path


def _is_let_in(path: Path, patterns: list[str]) -> bool:
    let_in = True
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        names = [str(path), *map(str, path.parents)]
        hit = any(fnmatch.fnmatch(name, bare) or fnmatch.fnmatch(f"/{name}", bare.replace("**", "*")) for name in names)
        if hit:
            let_in = pattern.startswith("!")
    return let_in


def replay(folder: Path) -> Path:
    """Run the build stage with `folder` in the place of /; returns what it has made of /opt/bulksend.

    The base's Python is a fresh virtual environment. Libraries come from uv's cache where it has them.
    """
    base = folder / "usr" / "local"
    subprocess.run([sys.executable, "-m", "venv", str(base)], check=True)
    places = {"/usr/local/": f"{base}/", "/opt/": f"{folder}/opt/", "/build/": f"{folder}/build/"}
    build = folder / "build"
    build.mkdir()
    stage = stages()[0]
    environment = {"HOME": os.environ["HOME"], "PATH": f"{base / 'bin'}:{os.defpath}"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    environment |= {name: value for name, value in stage.environment().items() if name != "UV_NO_CACHE"}
    environment |= {"UV_CACHE_DIR": str(folder / "cache")}
    let_in = list(context())
    for one in stage.instructions:
        match one.word:
            case "COPY":
                *sources, target = one.rest.split()
                for source in sources:
                    _copy(let_in, source.rstrip("/"), build / target if len(sources) == 1 else build)
            case "RUN":
                command = re.sub("|".join(places), lambda found: places[found[0]], one.rest)
                done = subprocess.run(
                    ["/bin/sh", "-ec", command],
                    cwd=build,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=STEP_WITHIN_S,
                    check=False,
                )
                assert done.returncode == 0, done.stdout + done.stderr
            case "ENV" | "WORKDIR":
                pass
            case _:
                raise AssertionError(one)
    return folder / "opt" / "bulksend"


def _copy(let_in: list[Path], source: str, target: Path) -> None:
    copied = 0
    for path in let_in:
        if path == Path(source):
            shutil.copy(ROOT / path, target / path.name)
        elif path.is_relative_to(source):
            to = target / path.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, to)
        else:
            continue
        copied += 1
    assert copied, f"{source} is not let in by .dockerignore"
