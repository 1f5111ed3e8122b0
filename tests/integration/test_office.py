"""The worker as whoever probes it sees it: what keeps it from sending, and what it only waits for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bulksend.event import Suppression, SuppressionReason
from bulksend.metrics import Metrics
from bulksend.simulator import SimulatorProcess
from bulksend.worker.office import ServiceOffice
from bulksend.worker.service import Service
from tests.integration.test_standstills import submitted


def test_a_worker_whose_day_is_spent_is_ready_and_one_whose_events_are_lost_is_not(in_folder: Path) -> None:
    with SimulatorProcess(max_send_rate_per_s=500, max_24_hour_send=100) as simulator:
        store, settings = submitted(in_folder, simulator)
        store.events.suppress([Suppression("nobody@example.com", SuppressionReason.MANUAL, "", 0.0)])

        async def main() -> None:
            service = Service(store, settings)
            office = ServiceOffice(service, store, Metrics(), lambda: settings)
            assert await office.hindrances() == ["the worker is starting"]
            run = asyncio.create_task(service.run())
            while not (standing := await asyncio.to_thread(store.standing, "launch")).held_up:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            assert standing.held_up[0].startswith("the 24-hour quota is spent")
            assert await office.hindrances() == []
            for file in store.folder.glob("events.db*"):
                file.unlink()
            (lost,) = await office.hindrances()
            assert "and the journal knows that there was one: it is lost" in lost
            service.stop()
            await run

        asyncio.run(main())
