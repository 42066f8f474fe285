"""What a plan has to satisfy, resolved from job file and flags."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from mlbroker.pricing.region import Region
from mlbroker.profiles.estimators.datasheet import job_uses_gpu
from mlbroker.profiles.job import Checkpoint, Data, DataLocation, Job, Objective
from mlbroker.profiles.prediction import Evidence


@dataclass(frozen=True, slots=True)
class Constraints:
    """The limits and circumstances of one plan.

    `deadline_s` counts from now. `steps` is the whole work in the unit of the predictions.
    `data_region` is where the input lies, None for outside any cloud. Where nobody knows how long
    the job takes, limits of time and money are not `judged`.
    """

    steps: int
    nodes: int = 1
    deadline_s: float | None = None
    confidence: float = 0.9
    budget_usd: Decimal | None = None
    objective: Objective = Objective()
    data: Data = Data()
    data_region: Region | None = None
    checkpoint: Checkpoint | None = None
    uses_gpu: bool = False
    judged: bool = True

    @classmethod
    def of(
        cls, job: Job, evidence: Evidence, regions: Mapping[int, Region], now: datetime
    ) -> "Constraints":
        """The job's limits, resolved at `now`. Work nobody stated is taken from measurements."""
        hints = () if evidence.hint is None else (evidence.hint,)
        measured_steps = [row.steps for row in evidence.measurements if row.steps]
        return cls(
            steps=job.work.steps if job.work else max(measured_steps, default=1),
            nodes=job.num_nodes,
            deadline_s=None if job.deadline is None else job.deadline.seconds_from(now),
            confidence=job.confidence,
            budget_usd=job.budget_usd,
            objective=job.objective,
            data=job.data,
            data_region=_region_of(job.data.at, regions),
            checkpoint=job.checkpoint,
            uses_gpu=job_uses_gpu(job, evidence.measurements or hints),
        )

    def unjudged(self) -> "Constraints":
        """The same for a job of which nobody knows how long it takes."""
        return replace(self, deadline_s=None, budget_usd=None, judged=False)

    @property
    def deadline_h(self) -> float:
        """Hours from now; only of a job with a deadline."""
        assert self.deadline_s is not None
        return self.deadline_s / 3600

    @property
    def deadline_has_passed(self) -> bool:
        """Whether nothing can be in time, whatever it is."""
        return self.deadline_s is not None and self.deadline_s <= 0


def _region_of(at: DataLocation | None, regions: Mapping[int, Region]) -> Region | None:
    """Where the data lies; a region that is not in the book has no known prices.

    Of a cloud alone nobody knows the region: it is one far from all others, that asks what the
    cloud's dearest does.
    """
    if at is None:
        return None
    there = [region for region in regions.values() if region.cloud == at.cloud]
    if at.region is not None:
        known = (region for region in there if region.name == at.region)
        return next(known, Region(at.cloud, at.region))
    return Region(
        at.cloud,
        "",
        egress_internet_usd_per_gb=_most(r.egress_internet_usd_per_gb for r in there),
        egress_far_usd_per_gb=_most(r.egress_far_usd_per_gb for r in there),
    )


def _most(rates: Iterable[Decimal | None]) -> Decimal | None:
    return max((rate for rate in rates if rate is not None), default=None)
