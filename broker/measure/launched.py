"""Measures a job on machines that are launched for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from threading import Event

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.evidence import facts
from mlbroker.broker.measure.agent_link import MEASURES
from mlbroker.broker.measure.carried import Payer, Place
from mlbroker.broker.measure.profile import Profiled, agent_spec
from mlbroker.broker.measure.result import died, to_measurement
from mlbroker.broker.measure.watch import Observation, watch
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.profiles.stepping.stopping import StopRule

Show = Callable[[LaunchOption, Observation], None]


@dataclass(frozen=True, slots=True)
class Campaign:
    """What all machines of one call share: who pays for which job, and when is enough known."""

    payer: Payer
    rule: StopRule
    show: Show = lambda *_: None

    def measure(self, places: Sequence[Place]) -> list[Profiled | MlbrokerError]:
        """One measurement for each of `places`, all at the same time, under the job's own limits
        (see `Payer`)."""
        known = facts.of(self.payer.job, measured=True)

        def one(place: Place, cap_usd: Decimal, interrupted: Event) -> Profiled:
            return self._one(known, place, cap_usd, interrupted)

        return self.payer.on_all(places, one)

    def _one(
        self, known: Mapping[str, str], place: Place, cap_usd: Decimal, interrupted: Event
    ) -> Profiled:
        job = self.payer.job
        done = self.payer.on_one(
            place,
            cap_usd,
            interrupted,
            MEASURES,
            lambda report_by_s: agent_spec(job, min(job.profile.max_time_s, report_by_s)),
            lambda link, at: watch(job, link, self.rule, lambda seen: self.show(at, seen)),
        )
        when, seen = datetime.now(UTC), done.heard or Observation()
        if done.lost is not None:
            row = died(job, done.where, when, known, str(done.lost))
        else:
            row = to_measurement(job, seen, done.where, when, known)
        return Profiled(row, seen, spent_usd=done.spent_usd)
