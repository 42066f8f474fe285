"""How fast the job will be on a machine, how sure that is, and on what evidence."""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.batches_seen import BatchesSeen
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement

# The 90th percentile of the standard normal distribution.
Z90 = 1.2815515655446004
_GPU = Hardware._fields.index("gpu")


class Basis(StrEnum):
    """Where a step time comes from, best first."""

    MEASURED = "measured"
    PREDICTED = "predicted"
    DATASHEET = "datasheet"
    STATED = "stated"
    UNKNOWN = "unknown"


class Quantiles(NamedTuple):
    """The 10th, 50th and 90th percentile of an uncertain quantity, in the unit of its name."""

    p10: float
    p50: float
    p90: float


class Prediction(NamedTuple):
    """A log-normal belief about the mean step time of the job on one machine.

    `overhead_s` is the time of the job itself that does not grow with its steps.
    `evidence` says in words what it rests on ("measured on g5.xlarge, 3 runs").
    """

    median_step_time_s: float
    sigma_log: float
    basis: Basis
    evidence: str
    overhead_s: float = 0.0

    @property
    def step_time_s(self) -> Quantiles:
        """Seconds per step."""
        spread = math.exp(Z90 * self.sigma_log)
        return Quantiles(
            self.median_step_time_s / spread,
            self.median_step_time_s,
            self.median_step_time_s * spread,
        )


class Target(NamedTuple):
    """A machine type (`nodes` of it) that a step time is wanted for, anywhere or in one region."""

    cloud: str
    instance_type: str
    hardware: Hardware
    nodes: int = 1
    region: str | None = None

    def plain(self) -> tuple[Any, ...]:
        """All of it in tuples, numbers and strings."""
        hardware, gpu = self.hardware, self.hardware.gpu
        facts = (*hardware[:_GPU], gpu and tuple(gpu), *hardware[_GPU + 1 :])
        return self.cloud, self.instance_type, facts, self.nodes, self.region


class Memory(Protocol):
    """Answers that were worked out before."""

    def recall(self, question: tuple[Any, ...], work_out: Callable[[], Any]) -> Any:
        """What `work_out` returns, or returned when the same was asked before.

        The question is all that the answer depends on, in tuples, numbers and strings; the answer
        is of lists, numbers and strings.
        """
        ...


class Evidence(NamedTuple):
    """All that is known: the job, its own measurements, and those of other jobs.

    `fitted` is what was learnt from the history beforehand (see `profiles.transfer.kernel.Hyper`).
    `hint` is what the user says that the job takes, as if it had been measured.
    `memory` saves work: it changes no answer. With `batches` the batch may be another than the
    job's own; the predictions of step times are of its own all the same.
    """

    job: Job
    measurements: Sequence[Measurement] = ()
    history: Sequence[Measurement] = ()
    fitted: Mapping[str, float] = MappingProxyType({})
    hint: Measurement | None = None
    memory: Memory | None = None
    batches: BatchesSeen | None = None

    def plain(self) -> str:
        """All that predictions depend on, in one string."""
        return repr(self._replace(memory=None, batches=None))

    def recall(self, question: tuple[Any, ...], work_out: Callable[[], Any]) -> Any:
        """The answer to a question about this evidence."""
        if self.memory is None:
            return work_out()
        return self.memory.recall((*question, self.plain()), work_out)
