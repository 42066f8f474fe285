"""Past runs of a job: how long its command was believed to take, and how long it took."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mlbroker.broker.clouds.guest_report import figures_of
from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.order import Predicted


class PastRun(NamedTuple):
    """One that came to its end. `predicted` is None where nothing was known before it."""

    run_id: str
    instance_type: str
    took_s: float
    predicted: Predicted | None

    @property
    def inside(self) -> bool | None:
        """Whether it took what eight of ten should; None without a prediction."""
        known = self.predicted
        return None if known is None else known.p10_s <= self.took_s <= known.p90_s

    def document(self) -> dict[str, Any]:
        """As JSON."""
        known = self.predicted
        return {
            "run_id": self.run_id,
            "instance_type": self.instance_type,
            "predicted_s": known and {"p10": known.p10_s, "p50": known.p50_s, "p90": known.p90_s},
            "evidence": known and known.evidence,
            "took_s": self.took_s,
            "inside": self.inside,
        }


def past_runs(runs: Iterable[Run], job: str) -> list[PastRun]:
    """Runs of the job that did all of its work on one machine, in their order."""
    found = []
    for run in runs:
        if run.job != job or not run.attempts or run.attempt.why != "finished":
            continue
        figures, predicted = figures_of(run.attempt.figures), run.attempt.predicted
        if figures is not None and not figures.resumed:
            known = None if predicted is None else Predicted(**predicted)
            kind = run.attempt.instance_type
            found.append(PastRun(run.run_id, kind, figures.command_s, known))
    return found


def coverage(runs: Sequence[PastRun]) -> float | None:
    """The share of runs that took what eight of ten should; None without a prediction."""
    told = [run.inside for run in runs if run.inside is not None]
    return sum(told) / len(told) if told else None
