"""A campaign from Python: the same verbs as on the command line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bulksend import config
from bulksend.config import Settings
from bulksend.engine import Observer
from bulksend.errors import UsageError
from bulksend.model import ResultRow, Tally
from bulksend.worker.planning import Planned, plan
from bulksend.worker.results import results
from bulksend.worker.sending import Sent, send
from bulksend.worker.store import Target, find_target

__all__ = ["Launch", "load_settings", "open_campaign"]


def load_settings(config_file: str | Path | None = None, **sections: Mapping[str, object]) -> Settings:
    """Settings as on the command line.

    `sections` (aws={...}, pacing={...}) before BULKSEND_* before the configuration file.

    Raises:
        ConfigError: one for every fault.
    """
    flags = {f"{section}.{key}": value for section, table in sections.items() for key, value in table.items()}
    return config.load_settings(None if config_file is None else Path(config_file), os.environ, flags)


def open_campaign(file_or_name: str | Path, settings: Settings | None = None) -> Launch:
    """A campaign by its file, or by its name in the store at hand.

    Raises:
        ConfigError: the file has faults.
        JournalError: the store cannot be used.
        UsageError: there is no store that could have a campaign of that name.
    """
    settings = load_settings() if settings is None else settings
    return Launch(find_target(str(file_or_name), settings, to_plan=True), settings)


@dataclass(frozen=True, slots=True)
class Launch:
    """One campaign and its store. Every method raises BulksendError, which says what happened and what to do."""

    target: Target
    settings: Settings

    def plan(self, *, again: bool = False) -> Planned:
        """Check the list and freeze the campaign. Nothing is sent."""
        if self.target.file is None:
            raise UsageError(f"{self.target.name!r} is not a campaign file")
        return plan(self.target.file, self.settings, self.target.store, again=again)

    def send(self, observers: Sequence[Observer] = ()) -> Sent:
        """Send what is left; in the main thread, SIGINT and SIGTERM drain."""
        return send(self.target.campaign(), self.settings, self.target.store, observers=observers)

    def status(self) -> Tally:
        """The campaign in numbers."""
        return self.target.store.journal.tally(self.target.campaign())

    def results(self, *states: str) -> Iterator[ResultRow]:
        """What became of each row, all or some states."""
        return results(self.target.store, self.target.campaign(), states)
