"""What a forked `bulksend` has imported already: all that a worker and a sender come to need."""

from __future__ import annotations

import gc

import aioboto3  # noqa: F401
import aiobotocore.httpsession  # noqa: F401
import psycopg_pool  # noqa: F401
import uvloop  # noqa: F401

import bulksend.cli
import bulksend.demo
import bulksend.events
import bulksend.fleet
import bulksend.report
import bulksend.worker.fleet
import bulksend.worker.launch
import bulksend.worker.process
import bulksend.worker.reporting  # noqa: F401
import tests.sdk  # noqa: F401

gc.freeze()  # what is imported stays shared with those that are forked
