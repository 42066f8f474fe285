"""What a plan has to satisfy, resolved from job file and flags."""

from dataclasses import dataclass
from decimal import Decimal

from mlbroker.pricing.region import Region
from mlbroker.profiles.job import Checkpoint, Data, Job, Objective

# From the create call to the first step of a container job: medians over machines of each cloud,
# rounded (Spare Cores inspector, 2026-08; AWS 159 s, GCP 193 s, Azure 274 s, all others 183 s).
SETUP_S = {"aws": 160.0, "gcp": 195.0, "azure": 275.0, "ssh": 5.0, "local": 1.0}
USUAL_SETUP_S = 185.0


def setup_s(cloud: str) -> float:
    """Seconds before the job's own command starts on a new machine of `cloud`."""
    return SETUP_S.get(cloud, USUAL_SETUP_S)


@dataclass(frozen=True, slots=True)
class Ask:
    """The limits and circumstances of one plan.

    `deadline_s` counts from now. `steps` is the whole work in the unit of the predictions.
    `data_region` is where the input lies, None for outside any cloud.
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

    @classmethod
    def of(cls, job: Job, **facts: object) -> "Ask":
        """The ask of a job file, with what the file does not hold given as `facts`."""
        return cls(
            nodes=job.num_nodes,
            confidence=job.confidence,
            budget_usd=job.budget_usd,
            objective=job.objective,
            data=job.data,
            checkpoint=job.checkpoint,
            **facts,  # type: ignore[arg-type]
        )
