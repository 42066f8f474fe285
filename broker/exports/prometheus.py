"""The books as metrics, in Prometheus' text format, for node_exporter's textfile collector.

Format: prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4. It is a few lines of
text, so no library writes it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.ledger import Run, State
from mlbroker.broker.words import exact_usd

Labels = tuple[tuple[str, str], ...]


class Metric(NamedTuple):
    """One family of samples: `kind` is gauge or counter, values are written as they are."""

    name: str
    kind: str
    help: str
    samples: Mapping[Labels, str]


def metrics_text(runs: Sequence[Run], head_seq: int) -> str:
    """All metrics of the books; `head_seq` is the number of the ledger's last fact."""
    return "".join(_lines(metric) for metric in metrics(runs, head_seq))


def metrics(runs: Sequence[Run], head_seq: int) -> list[Metric]:
    """The families, each with its samples in order."""
    states = Counter(run.state for run in runs)
    spent: dict[Labels, Decimal] = defaultdict(Decimal)
    reserved: dict[Labels, Decimal] = defaultdict(Decimal)
    kills: dict[Labels, str] = {}
    for run in runs:
        for attempt in run.attempts:
            spent[_whose(run, attempt.cloud)] += attempt.charged_usd
        if run.settled:
            continue
        reserved[_whose(run, _cloud(run))] += run.reserved_usd
        if run.attempts and run.attempt.ended_at is None:
            labels = (("run", run.run_id), ("job", run.job), *_whose(run, run.attempt.cloud))
            kills[labels] = f"{run.attempt.kill_at.timestamp():.3f}"
    by_state: dict[Labels, str] = {(("state", str(state)),): str(states[state]) for state in State}
    return [
        Metric("mlbroker_runs", "gauge", "Runs by state.", by_state),
        Metric(
            "mlbroker_spent_usd_total",
            "counter",
            "US dollars charged to attempts whose machines are gone.",
            _amounts(spent),
        ),
        Metric(
            "mlbroker_reserved_usd",
            "gauge",
            "US dollars that open runs hold: the most that they may still come to cost.",
            _amounts(reserved),
        ),
        Metric(
            "mlbroker_run_kill_timestamp_seconds",
            "gauge",
            "When the machine of an open run is ended whatever happens, in Unix time.",
            dict(sorted(kills.items())),
        ),
        Metric(
            "mlbroker_ledger_head_seq",
            "gauge",
            "Number of the ledger's last fact: it never falls.",
            {(): str(head_seq)},
        ),
    ]


def _amounts(found: Mapping[Labels, Decimal]) -> dict[Labels, str]:
    return {labels: exact_usd(usd) for labels, usd in sorted(found.items())}


def _whose(run: Run, cloud: str) -> Labels:
    return (("cloud", cloud), ("project", run.project or ""), ("user", run.user))


def _cloud(run: Run) -> str:
    """Where it is, or is to be."""
    if run.attempts:
        return run.attempt.cloud
    return str(run.details.get("candidate", {}).get("cloud") or "")


def _lines(metric: Metric) -> str:
    head = [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
    samples = (
        f"{metric.name}{_braced(labels)} {value}" for labels, value in metric.samples.items()
    )
    return "\n".join([*head, *samples]) + "\n"


def _braced(labels: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    """As a label's value is written. A carriage return would end the line for some readers; what
    UTF-8 cannot hold is a question mark.
    """
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text.replace("\r", "\\\\r").encode("utf-8", "replace").decode()
