"""Whether a machine without a GPU does the job in time, and what the GPU costs more."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from mlbroker.policies.planner.book import Book, with_hardware
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.pricing.book import Amount
from mlbroker.profiles.job import Job, ResourceOption
from mlbroker.profiles.measurement import Status
from mlbroker.profiles.prediction import Evidence

# What any GPU has.
ANY_GPU = Amount(1.0)


class Verdict(StrEnum):
    """What can be said. The names are part of the machine-readable contract."""

    ENOUGH = "enough"
    UNKNOWN = "unknown"
    NOT_IN_TIME = "not_in_time"


@dataclass(frozen=True, slots=True)
class WithoutGpu:
    """The best machine without a GPU, beside the best with one; None where there is none.

    UNKNOWN: the job was never seen to work without a GPU, and a guess from a GPU's pace to a
    processor's is none to rely on. `drops` tells that the job asks for a GPU, which was left out.
    `gpu_others_usd` is what the job's hours on the GPU's place cost those who wait for it.
    """

    verdict: Verdict
    cpu: Quote | None
    gpu: Quote | None
    drops: bool
    gpu_others_usd: Decimal = Decimal(0)

    @property
    def gpu_costs_more_usd(self) -> Decimal | None:
        """Expected, a run; negative where the GPU is cheaper. None where either is unknown."""
        if self.cpu is None or self.gpu is None:
            return None
        if self.cpu.cost_usd is None or self.gpu.cost_usd is None:
            return None
        return self.gpu.cost_usd.expected - self.cpu.cost_usd.expected


def without_gpu(planner: Planner, request: PlanRequest) -> WithoutGpu:
    """Two plans by the planner itself, one of machines without a GPU, so that the answer is what
    `plan` would say."""
    with_gpu = {kind.name for _, _, kind in planner.book.types() if kind.hardware.gpu is not None}
    evidence = with_hardware(planner.book, request.evidence)
    cpu = _best(planner, request, _without(request.job, with_gpu))
    gpu = _best(planner, request, _with(request.job, with_gpu))
    options = request.job.resources
    drops = all(o.requirements.wants_gpu or o.instance_type in with_gpu for o in options)
    if not _seen_without(evidence, planner.book):
        return WithoutGpu(Verdict.UNKNOWN, None, gpu, drops)
    return WithoutGpu(Verdict.NOT_IN_TIME if cpu is None else Verdict.ENOUGH, cpu, gpu, drops)


def _without(job: Job, with_gpu: Collection[str]) -> Sequence[ResourceOption]:
    """The job's wishes that ask for no GPU, else those that do without it. A type that was pinned
    is let go where it has a GPU.
    """

    def plain(option: ResourceOption) -> ResourceOption:
        needs = option.requirements._replace(gpu_model=None, gpu_memory_gib=None, gpu_count=0)
        pinned = None if option.instance_type in with_gpu else option.instance_type
        return option._replace(requirements=needs, instance_type=pinned)

    own = [o for o in job.resources if not o.requirements.wants_gpu]
    own = [o for o in own if o.instance_type not in with_gpu] or list(job.resources)
    return list(map(plain, own))


def _with(job: Job, with_gpu: Collection[str]) -> Sequence[ResourceOption]:
    """The job's wishes for a GPU, else all of them on machines that have one."""

    def added(option: ResourceOption) -> ResourceOption:
        needs = option.requirements._replace(gpu_memory_gib=ANY_GPU, gpu_count=None)
        return option._replace(requirements=needs)

    own = [o for o in job.resources if o.requirements.wants_gpu or o.instance_type in with_gpu]
    rest = [o for o in job.resources if o.instance_type is None]
    return own or list(map(added, rest))


def _best(
    planner: Planner, request: PlanRequest, options: Sequence[ResourceOption]
) -> Quote | None:
    """The choice of a plan on these wishes. The evidence is the job's own: so are the paces."""
    if not options:
        return None
    job = replace(request.job, resources=tuple(dict.fromkeys(options)))
    return planner.plan(request._replace(job=job, top=1, explain=False, advise=False)).choice


def _seen_without(evidence: Evidence, book: Book) -> bool:
    """Whether the job itself was measured to work without a GPU."""
    hint = evidence.job.takes
    if hint is not None and evidence.hint is None:
        kinds = (kind for _, _, kind in book.types() if kind.name == hint.instance_type)
        if any(kind.hardware.gpu is None for kind in kinds):
            return True
    return any(
        row.status is Status.OK
        and (row.gpu_used is False or (row.hardware is not None and row.hardware.gpu is None))
        for row in evidence.measurements
    )
