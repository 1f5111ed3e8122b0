"""An SES v2 over HTTP on loopback: quotas, faults, latency, and a tally of its own to judge a sender by.

Start it as a process of its own (`python -m bulksend.simulator`, or `SimulatorProcess` from a program), point an SES
client at its URL with any credentials, and ask `/_simulator/tally` what it accepted. Only SigV4A, which multi-region
endpoints want, is verified: with the key pair in the simulator's own environment. The module `operations` has the list
of all that it knows of an account, `faults` the table of everything that it can be told to do wrong; `events` tells a
queue what became of the mails that it accepted: another's (`queue`), or the one that it holds (`sqs`).
"""

from __future__ import annotations

from bulksend.simulator.client import SimulatorProcess
from bulksend.simulator.settings import SimulatorSettings

__all__ = ["SimulatorProcess", "SimulatorSettings"]
