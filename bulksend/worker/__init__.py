"""The composition root: wires the parts and runs campaigns."""

from __future__ import annotations

from bulksend.worker.control import Retried, cancel, pause, prune, retry
from bulksend.worker.forget import Forgotten, forget
from bulksend.worker.planning import Planned, plan
from bulksend.worker.rehearsal import Rehearsed, dry_run, send_samples
from bulksend.worker.relist import left_out, relist, states_of_list
from bulksend.worker.results import STATES, Doubt, Resolved, doubts, resolve, results, unheard
from bulksend.worker.sending import Sent, send
from bulksend.worker.settlement import Settled, Settler, settle
from bulksend.worker.store import Standing, Store, Target, find_target, is_file
from bulksend.worker.submitting import has_worker, queue

__all__ = [
    "STATES",
    "Doubt",
    "Forgotten",
    "Planned",
    "Rehearsed",
    "Resolved",
    "Retried",
    "Sent",
    "Settled",
    "Settler",
    "Standing",
    "Store",
    "Target",
    "cancel",
    "doubts",
    "dry_run",
    "find_target",
    "forget",
    "has_worker",
    "is_file",
    "left_out",
    "pause",
    "plan",
    "prune",
    "queue",
    "relist",
    "resolve",
    "results",
    "retry",
    "send",
    "send_samples",
    "settle",
    "states_of_list",
    "unheard",
]
