"""A machine type as the chooser sees it: what it is, how fast the job is on it, what it draws."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from mlbroker.policies import interruptions
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.outcome import Outcome
from mlbroker.pricing.offer import Hardware, InstanceType
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.batch import BatchAt
from mlbroker.profiles.job import ObjectiveKind
from mlbroker.profiles.prediction import Prediction, Quantiles

HOUR_S = 3600.0


class Pace:
    """How a run goes on equal machines of one cloud, worked out once for each interruption rate.

    `steady` is the run on machines that stay; `sure_s` is what it does not exceed with the
    confidence asked for. One of several nodes being taken stops them all.

    Thousands are made in a plan: a `functools.cache` for each cost half of a plan's time.
    """

    __slots__ = (
        "_constraints",
        "_has_gpu",
        "_in_time",
        "_spot",
        "_sure_on_spot_s",
        "prediction",
        "relative_speed",
        "setup_s",
        "steady",
        "sure_s",
    )

    def __init__(
        self, constraints: Constraints, prediction: Prediction, cloud: str, has_gpu: bool
    ) -> None:
        self._constraints = constraints
        self._has_gpu = has_gpu
        self._spot: dict[float | None, Outcome] = {}
        self._in_time: dict[float | None, bool] = {}
        self._sure_on_spot_s: dict[float | None, float] = {}
        self.prediction: Prediction | None = prediction
        self.relative_speed: float | None = None
        self.setup_s = vendor(cloud).setup_s
        self.steady = Outcome(
            prediction.median_step_time_s * constraints.steps,
            prediction.sigma_log,
            self.setup_s + prediction.overhead_s,
        )
        self.sure_s = self.steady.quantile_s(constraints.confidence)

    @property
    def command_s(self) -> Quantiles:
        """Seconds of the job's command, undisturbed: without the machine's set-up."""
        return Quantiles(*(self.steady.quantile_s(p) - self.setup_s for p in (0.1, 0.5, 0.9)))

    def on_spot(self, rate: float | None) -> Outcome:
        """The run on spot machines of which a share `rate` is interrupted within a month."""
        found = self._spot.get(rate)
        if found is None:
            constraints, steady = self._constraints, self.steady
            found = self._spot[rate] = Outcome(
                steady.work_median_s,
                steady.sigma_log,
                steady.fixed_s,
                interruptions.interruptions_per_s(rate, self._has_gpu) * constraints.nodes,
                interruptions.loss_s(constraints.checkpoint, self.setup_s, steady.work_mean_s),
            )
        return found

    def in_time_on_spot(self, rate: float | None) -> bool:
        """Whether a run on such spot machines meets the deadline with the confidence asked for."""
        found = self._in_time.get(rate)
        if found is None:
            constraints = self._constraints
            found = self._in_time[rate] = constraints.deadline_s is None or self.on_spot(
                rate
            ).reaches(constraints.deadline_s, constraints.confidence)
        return found

    def sure_on_spot_s(self, rate: float | None) -> float:
        """What a run on such spot machines does not exceed with the confidence asked for."""
        found = self._sure_on_spot_s.get(rate)
        if found is None:
            confidence = self._constraints.confidence
            found = self._sure_on_spot_s[rate] = self.on_spot(rate).quantile_s(confidence)
        return found


class UnknownPace(Pace):
    """A run of which nobody knows how long it takes: machines are compared by what an hour costs
    and emits, and where time matters, by how fast they are on paper.
    """

    __slots__ = ()

    def __init__(self, constraints: Constraints, relative_speed: float | None, cloud: str) -> None:
        self.prediction = None
        self.relative_speed = relative_speed
        self.setup_s = vendor(cloud).setup_s
        alike_s = HOUR_S
        if constraints.objective.kind is ObjectiveKind.TIME:
            alike_s = HOUR_S / (relative_speed or 1e-9)
        self.steady = Outcome(alike_s, 0.0, 0.0)
        self.sure_s = math.inf

    def on_spot(self, rate: float | None) -> Outcome:
        """How often it would be interrupted nobody knows either."""
        return self.steady

    def in_time_on_spot(self, rate: float | None) -> bool:
        """Not judged."""
        return True

    def sure_on_spot_s(self, rate: float | None) -> float:
        """It may take any time."""
        return math.inf


class PacedType(NamedTuple):
    """One type with its pace, `regional` where a region was measured by itself.

    `draw` gives one machine's watts without PUE, None when unknown. `batch` is the one the pace is
    of, where that is to be chosen too.
    """

    type: InstanceType
    pace: Pace
    draw: Callable[[Hardware], float | None]
    regional: Mapping[int, Pace] = MappingProxyType({})
    batch: BatchAt | None = None

    @property
    def paces(self) -> tuple[Pace, ...]:
        """Those of all regions."""
        return self.pace, *self.regional.values()

    def pace_in(self, region_id: int) -> Pace:
        """The pace in one region: its own where it was measured there."""
        return self.regional.get(region_id, self.pace) if self.regional else self.pace

    @property
    def power_w(self) -> float | None:
        """Watts of one machine at work, worked out only where it is asked for."""
        return self.draw(self.type.hardware)
