"""python -m bulksend."""

from __future__ import annotations

from bulksend.cli import main

main()
