"""The jobs of another tool's workflow as runs under one cap: begun, looked at, and stopped."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from secrets import token_hex

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.run import RunRequest, prepare, reserve
from mlbroker.broker.app.sources import job_of
from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import WORKFLOW, Run, Share, open_ledger
from mlbroker.broker.runs.background import carry_in_background
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.words import count, exact_usd
from mlbroker.pricing.billing import MICRO_USD


@dataclass(frozen=True, slots=True)
class WorkflowJob:
    """One job of a workflow: a shell `command` that finds its files where it is.

    Of one `part` no two runs are open at once. `cpus` and `memory_gib` are what it needs at least,
    `budget_usd` is what it may cost where that is said of it.
    """

    part: str
    name: str
    command: str
    cpus: int | None = None
    memory_gib: float | None = None
    budget_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class WorkflowPlace:
    """Where all jobs run: this machine or a node by its name, which sees the workflow's folder."""

    on: str
    local_price_usd: Decimal | None = None
    project: str | None = None


class Workflow:
    """The runs of one workflow in `folder`, which stay within `budget_usd` together.

    Another workflow there has a cap of its own, but begins no job on which this one still works.
    """

    def __init__(
        self,
        folder: Path,
        budget_usd: Decimal,
        place: WorkflowPlace,
        state: Path,
        listener: Listener,
    ) -> None:
        whole_id = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self.share = Share(WORKFLOW, folder.resolve().name, whole_id, token_hex(8), budget_usd)
        self._place, self._home = place, state
        self._listener, self._ledger = listener, open_ledger(state)

    def begin(self, job: WorkflowJob, path: Path, others: Sequence[Decimal | None]) -> Run:
        """Reserve its part of what is left, and have it carried by a process of its own.

        `others` are the budgets of the other jobs that no run works on yet. Where none is said,
        a job gets an equal part of what those leave, and what it does not use is the others'. The
        job file is written to `path`. Raises RefusedError where the part does not pay for it,
        InputError where another run is at it.
        """
        needs: dict[str, str] = {}
        if job.cpus is not None:
            needs["cpus"] = f"{job.cpus}+"
        if job.memory_gib is not None:
            needs["memory"] = f"{job.memory_gib:g}+"
        path.write_text(json.dumps({"name": job.name, "run": job.command, "resources": needs}))
        left_usd = max(self.share.left_usd(self._ledger.runs()), Decimal(0))
        paid_usd = _part_usd(left_usd, job.budget_usd, others)
        if paid_usd <= 0:
            left = f"{exact_usd(left_usd)} of {exact_usd(self.share.budget_usd)} USD"
            raise RefusedError(
                f"{left} are left, for {count(1 + len(others), 'job')}", hint="A larger budget."
            )
        request = RunRequest(
            job=job_of(path, self._listener, to_run=True, placed=True, budget=str(paid_usd)),
            job_path=path,
            on=self._place.on,
            local_price_usd=self._place.local_price_usd,
            project=self._place.project,
            share=self.share._replace(part=job.part),
        )
        prepared = prepare(request, self._home, self._listener)
        with reserve(prepared, {}, self._home, self._listener) as run:
            carry_in_background(self._home, run.run_id, {})
        return run

    def runs(self, run_ids: Iterable[str]) -> list[Run]:
        """As they are now."""
        found = (self._ledger.run(run_id) for run_id in run_ids)
        return [run for run in found if run is not None]

    def stop(self, by: str) -> None:
        """Ask all that are open to end, once; their carriers see to it."""
        for run in self.share.sharing(self._ledger.runs()):
            if not run.settled and run.stop_requested is None:
                self._ledger.ask_to_stop(Clock().now(), run.run_id, by)

    @property
    def spent_usd(self) -> Decimal:
        """By all runs under this cap."""
        mine = self.share.sharing(self._ledger.runs())
        return sum((run.spent_usd for run in mine), Decimal(0))


def _part_usd(left_usd: Decimal, own: Decimal | None, others: Sequence[Decimal | None]) -> Decimal:
    """What a job may cost of what is left."""
    if own is not None:
        return min(own, left_usd)
    said = [usd for usd in others if usd is not None]
    equal_usd = (left_usd - sum(said)) / (1 + len(others) - len(said))
    return equal_usd.quantize(MICRO_USD, ROUND_DOWN)
