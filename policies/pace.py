"""A machine type as the chooser sees it: what it is, how fast the job is on it, what it draws."""

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from mlbroker.policies import interruptions
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.outcome import Outcome
from mlbroker.pricing.offer import Hardware, InstanceType
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.prediction import Prediction


class Pace:
    """How a run goes on equal machines of one cloud, worked out once for each interruption rate.

    `steady` is the run on machines that stay; `sure_s` is what it does not exceed with the
    confidence asked for. One of several nodes being taken stops them all.
    """

    __slots__ = (
        "_constraints",
        "_has_gpu",
        "in_time_on_spot",
        "on_spot",
        "prediction",
        "setup_s",
        "steady",
        "sure_on_spot_s",
        "sure_s",
    )

    def __init__(
        self, constraints: Constraints, prediction: Prediction, cloud: str, has_gpu: bool
    ) -> None:
        self._constraints = constraints
        self._has_gpu = has_gpu
        self.prediction = prediction
        self.setup_s = vendor(cloud).setup_s
        self.steady = Outcome(
            prediction.median_step_time_s * constraints.steps,
            prediction.sigma_log,
            self.setup_s + prediction.overhead_s,
        )
        self.sure_s = self.steady.quantile_s(constraints.confidence)
        # Of spot machines of which a share is interrupted within a month: the run on them, whether
        # it meets the deadline with the confidence asked for, and what it does not exceed.
        self.on_spot = cache(self._on_spot)
        self.in_time_on_spot = cache(self._in_time_on_spot)
        self.sure_on_spot_s = cache(self._sure_on_spot_s)

    def _on_spot(self, rate: float | None) -> Outcome:
        constraints, steady = self._constraints, self.steady
        return Outcome(
            steady.work_median_s,
            steady.sigma_log,
            steady.fixed_s,
            interruptions.interruptions_per_s(rate, self._has_gpu) * constraints.nodes,
            interruptions.loss_s(constraints.checkpoint, self.setup_s, steady.work_mean_s),
        )

    def _in_time_on_spot(self, rate: float | None) -> bool:
        deadline_s, confidence = self._constraints.deadline_s, self._constraints.confidence
        return deadline_s is None or self.on_spot(rate).reaches(deadline_s, confidence)

    def _sure_on_spot_s(self, rate: float | None) -> float:
        return self.on_spot(rate).quantile_s(self._constraints.confidence)


class PacedType(NamedTuple):
    """One type with its pace, `regional` where a region was measured by itself.

    `draw` gives one machine's watts without PUE, None when unknown.
    """

    type: InstanceType
    pace: Pace
    draw: Callable[[Hardware], float | None]
    regional: Mapping[int, Pace] = MappingProxyType({})

    def pace_in(self, region_id: int) -> Pace:
        """The pace in one region: its own where it was measured there."""
        return self.regional.get(region_id, self.pace) if self.regional else self.pace

    @property
    def power_w(self) -> float | None:
        """Watts of one machine at work, worked out only where it is asked for."""
        return self.draw(self.type.hardware)
