"""docs/METRICS.md, made of the declarations: python -m bulksend.metrics.page > docs/METRICS.md."""

from __future__ import annotations

import sys

from bulksend.metrics.declared import CATALOGUE, Kind, Series, Topic

__all__ = ["page"]

HEAD = """\
# Metrics

Every series that bulksend exposes. This page is made of the declarations in `bulksend/metrics/declared.py`, by
`python -m bulksend.metrics.page > docs/METRICS.md`. What to do about them: [runbook](RUNBOOK.md). Dashboard and alerts
are in `deploy/grafana` and `deploy/prometheus`.

- A worker serves them at `/metrics` of `http.listen` ([HTTP](http.md)); a one-off run with `bulksend send
  --metrics-port` on 127.0.0.1, or with `--metrics-textfile` in a file for node_exporter's textfile collector
  (`*.prom`), for runs that are shorter than a scrape. The file stays as the run left it: remove it once it was read.
  In the end it has no quota and no pace, which hold only while something is sent.
  The collector's folder may hold one such file at a time: those of two runs name the same series.
- `account` is the account's id, or host and port of what stands for SES; `region` is the Region that is sent from.
- `campaign` is empty, which to Prometheus is no label, unless the setting `metrics.campaigns` is true. Then it is the
  campaign's name, for 50 of a process, those that it sends before others; the rest are `other`. Nothing names people.
- Counters and what is in flight are the process's own: sum over instances. Quota, pace and what is in the store are
  told alike by every worker of a fleet: take the maximum.
- Series of the process itself (`process_*`: CPU, memory, open files, time of start) come from prometheus-client.
"""


def page() -> str:
    """The page, in Markdown."""
    lines = [HEAD]
    for topic in Topic:
        lines.append(f"## {topic.value}\n")
        for series in CATALOGUE:
            if series.topic is topic:
                lines += _entry(series)
    return "\n".join(lines)


def _entry(series: Series) -> list[str]:
    labels = ", ".join(f"`{label}`" for label in series.labels) or "none"
    facts = [f"- Kind: {series.kind.value}", f"- Labels: {labels}"]
    if series.kind is Kind.HISTOGRAM:
        facts.append(f"- Buckets: {', '.join(f'{limit:g}' for limit in series.limits)}")
    return [f"### `{series.exposed}`\n", series.documentation, "", *facts, ""]


if __name__ == "__main__":
    sys.stdout.write(page())
