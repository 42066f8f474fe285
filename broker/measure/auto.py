"""Measures one machine after the other for as long as a measurement is worth its price."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.errors import MlbrokerError, RefusedError
from mlbroker.broker.measure.profile import Profiled
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.policies.quote import Quote
from mlbroker.pricing.offer import InstanceType
from mlbroker.pricing.vendors import LOCAL, vendor
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Evidence, Target
from mlbroker.profiles.probe_advice import Advice, Offered, advise

# After so many machines in a row that could not be had, something else is wrong.
MAX_LOST = 3
# With a deadline nearer than so many measurements at their longest, several run at a time.
HURRY = 20
AT_ONCE = 3


class ProbeOption(NamedTuple):
    """A machine that can be launched, and what the chooser knows of it."""

    candidate: LaunchOption
    offer: Offered


def probe_options(
    candidates: Sequence[LaunchOption], quotes: Sequence[Quote], kinds: Iterable[InstanceType]
) -> list[ProbeOption]:
    """The machines of a plan's quotes, in their order, as ones that a probe could be made on."""
    hardware = {(kind.cloud, kind.name): kind.hardware for kind in kinds}
    options = []
    for candidate, quote in zip(candidates, quotes, strict=True):
        machine = hardware[quote.cloud, quote.instance_type]
        target = Target(quote.cloud, quote.instance_type, machine, quote.nodes)
        usd_per_hour = float(quote.price_per_hour_usd) * quote.nodes
        offer = Offered(target, usd_per_hour, vendor(quote.cloud).setup_s)
        options.append(ProbeOption(candidate, offer))
    return options


class SearchOutcome(NamedTuple):
    """What was measured, in this order, and the machine to commit to (None: none works)."""

    rows: list[Measurement]
    best: LaunchOption | None
    spent_usd: Decimal


# Measures on all of these at once, within the cap; a step longer than the time given is hopeless.
Measure = Callable[
    [Sequence[LaunchOption], Decimal, float | None], Sequence[Profiled | MlbrokerError]
]


class ProbeSearch(NamedTuple):
    """What is looked for, and how much it may cost. `deadline_s` counts from each call."""

    evidence: Evidence
    options: Sequence[ProbeOption]
    steps: int
    cap_usd: Decimal
    deadline_s: Callable[[], float | None]
    longest_s: float
    most: int

    def run(self, measure: Measure, say: Callable[[str], None]) -> SearchOutcome:
        """Measure while it is worth it, saying why, and why no more."""
        rows: list[Measurement] = []
        lost: set[int] = set()
        left, lost_in_a_row = self.cap_usd, 0
        while True:
            advices = self._advices(rows, lost)
            advice = advices[0]
            best = None if advice.place is None else self.options[advice.place].candidate
            done = SearchOutcome(rows, best, self.cap_usd - left)
            if best is None or not advice.probe:
                say(_why_stop(advice, best))
                return done
            if len(rows) >= self.most:
                say(f"{len(rows)} machines were measured, as many as were allowed.")
                return done
            if advice.costs_usd > left:
                say(
                    f"{_name(best)} is worth measuring, but that costs about "
                    f"{advice.costs_usd:.2g} USD, and {left:.2g} USD are left."
                )
                return done
            chosen = [item for item in advices if item.place is not None and item.probe]
            chosen = chosen[: self.most - len(rows)]
            known = any(row.status is Status.OK for row in [*self.evidence.measurements, *rows])
            for item in chosen:
                say(self._why(item, known))
            places = [item.place for item in chosen if item.place is not None]
            limits = [item.hopeless_step_s for item in chosen]
            limit = None if None in limits else max(x for x in limits if x is not None)
            results = measure([self.options[place].candidate for place in places], left, limit)
            for place, result in zip(places, results, strict=True):
                if isinstance(result, MlbrokerError):
                    lost.add(place)
                    lost_in_a_row += 1
                    if lost_in_a_row >= MAX_LOST or isinstance(result, RefusedError):
                        raise result
                    say(f"{_name(self.options[place].candidate)} could not be measured: {result}")
                else:
                    lost_in_a_row = 0
                    rows.append(result.measurement)
                    left -= result.spent_usd

    def _advices(self, rows: Sequence[Measurement], lost: set[int]) -> list[Advice]:
        """The next probe, and with little time the ones after it too."""
        evidence = self.evidence._replace(measurements=[*self.evidence.measurements, *rows])
        offers = [option.offer for option in self.options]
        deadline_s = self.deadline_s()
        hurry = deadline_s is not None and deadline_s < HURRY * self.longest_s
        found: list[Advice] = []
        without = set(lost)
        for _ in range(AT_ONCE if hurry else 1):
            advice = advise(evidence, offers, self.steps, deadline_s, without)
            if found and not advice.probe:
                break
            found.append(advice)
            if advice.place is None or not advice.probe:
                break
            without |= {n for n in range(len(offers)) if self._twins(n, advice.place)}
        return found

    def _twins(self, one: int, other: int) -> bool:
        """Whether both would tell the same, or disturb each other: local nodes are one machine."""
        here = [self.options[place].candidate.cloud == LOCAL for place in (one, other)]
        kinds = [self.options[place].offer.target.instance_type for place in (one, other)]
        return all(here) or kinds[0] == kinds[1]

    def _why(self, advice: Advice, known: bool) -> str:
        """Before the first measurement nobody knows what there is to save."""
        assert advice.place is not None
        saves = f" and saves {advice.saves_usd:.2g} USD on average" if known else ""
        return (
            f"{_name(self.options[advice.place].candidate)}: measuring costs about "
            f"{advice.costs_usd:.2g} USD{saves}."
        )


def _why_stop(advice: Advice, best: LaunchOption | None) -> str:
    if best is None:
        return "Nothing is left that works."
    text = f"Take {_name(best)}."
    if advice.costs_usd <= 0:
        return text
    return (
        f"{text} Another measurement would cost {advice.costs_usd:.2g} USD and save "
        f"{advice.saves_usd:.2g} USD on average."
    )


def _name(candidate: LaunchOption) -> str:
    market = " (spot)" if candidate.market == "spot" else ""
    return f"{candidate.instance_type} on {candidate.cloud}, {candidate.region}{market}"
