"""Candidates -> Decision: the cheapest machine in time, the runners-up, and why not the rest.

There are thousands of types in dozens of regions, and a user waits. So each type and market first
gets a bound on what it can reach in its best region, in floating point; only those that may be
among the best are looked at region by region, best bound first. The order that comes out is exact.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from mlbroker.policies.burst import credits_run_out
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.interruptions import too_often
from mlbroker.policies.objective import Key, sort_key
from mlbroker.policies.outcome import Outcome
from mlbroker.policies.picks import Candidate, Needs, Pick, Refusal, Selection
from mlbroker.policies.quote import Reason
from mlbroker.policies.region_costs import RegionCosts, least_by_cloud
from mlbroker.pricing.book import RegionPrice
from mlbroker.pricing.price_age import price_width
from mlbroker.pricing.price_units import NANO_PER_USD
from mlbroker.pricing.spot import at_most_per_hour_usd
from mlbroker.profiles.job import ObjectiveKind

if TYPE_CHECKING:
    # Few users have a policy file, and few jobs may fall back: not imported for all.
    from mlbroker.policies.falling_back import Case, FallingBack
    from mlbroker.policies.guardrails.interface import Subject, Undecided
    from mlbroker.policies.guardrails.judge import Judge

NANO = 1e-9
T = TypeVar("T")
INTERRUPTED = "interruptions included"


class Chooser:
    """Screens candidates against the constraints of one plan. `places[option][region id]` are the
    regions' add-ons; `more(candidate)` returns all prices of a candidate (the one thing asked of
    the outside); `judge` knows the user's policy, and `falling_back` what spot costs that does.
    """

    def __init__(
        self,
        constraints: Constraints,
        places: Sequence[Sequence[RegionCosts | None]],
        more: Callable[[Candidate], Iterable[RegionPrice]],
        judge: "Judge | None" = None,
        falling_back: "FallingBack | None" = None,
    ) -> None:
        self.constraints = constraints
        self.places = places
        self.more = more
        self.judge = judge
        self._falling_back = falling_back
        self.budget = None if constraints.budget_usd is None else float(constraints.budget_usd)
        self._limited = self.budget is not None or constraints.deadline_s is not None
        self.carbon_matters = judge is not None or constraints.objective.kind in (
            ObjectiveKind.CARBON,
            ObjectiveKind.WEIGHTED,
        )
        self._least = [least_by_cloud(option) for option in places]

    def choose(self, candidates: Sequence[Candidate], top: int) -> Selection:
        """The `top` best candidates (0: all), one per type and market."""
        selection = Selection()
        heap: list[tuple[Key, int, Candidate, Pick | None]] = []
        for number, candidate in enumerate(candidates):
            found = self._first_look(candidate)
            if isinstance(found, Refusal):
                selection.refusals.append(found)
            elif isinstance(found, Pick):
                heap.append((found.key, number, candidate, found))
            else:
                heap.append((found, number, candidate, None))
        heap = self._without_needless_gpus(heap, selection)
        heapq.heapify(heap)
        # One that would do in several ways, by options or batches, is one all the same.
        selection.feasible = len({(c.rows[0].type_id, c.spot) for _, _, c, _ in heap})
        seen: set[tuple[int, bool]] = set()
        for pick in self._in_order(heap):
            identity = (pick.row.type_id, pick.candidate.spot)
            if identity not in seen:
                seen.add(identity)
                selection.picks.append(pick)
            if top and len(selection.picks) >= top:
                break
        return selection

    def _without_needless_gpus(
        self, heap: list[tuple[Key, int, Candidate, Pick | None]], selection: Selection
    ) -> list[tuple[Key, int, Candidate, Pick | None]]:
        """Where the policy asks for it: GPU machines are out if a machine without one would do."""
        if self.judge is None or not self.judge.compares:
            return heap
        plain = [entry for entry in heap if entry[2].machine.type.hardware.gpu is None]
        if not plain or len(plain) == len(heap):
            return heap
        found = self._full_look(min(plain)[2])
        assert isinstance(found, Pick)
        from mlbroker.policies.guardrails.interface import UNDECIDED

        best, row = found.candidate, found.row
        place = _known(self.places[best.option][row.region_id])
        figures = self._expected(best, row, place, best.machine.pace_in(row.region_id).steady)
        cheapest = self._subject(best, row, place.region, *self._judged(figures))
        left = []
        for entry in heap:
            candidate = entry[2]
            anywhere = self._subject(candidate, candidate.rows[0], *(UNDECIDED,) * 3)
            hit = self.judge.beside(anywhere, cheapest)
            if hit is None:
                left.append(entry)
            else:
                reason = Reason.FORBIDDEN_BY_POLICY
                selection.refusals.append(Refusal(candidate, candidate.rows[0], reason, str(hit)))
        return left

    def needs(self, candidate: Candidate, row: RegionPrice) -> Needs | None:
        """The deadline and the budget that this price would keep, interruptions included.

        None where no limit would help: the policy forbids it, it is interrupted too often, or its
        credits run out.
        """
        place = _known(self.places[candidate.option][row.region_id])
        pace = candidate.machine.pace_in(row.region_id)
        if credits_run_out(candidate.machine.type, pace.sure_s):
            return None
        outcome, sure_s = pace.steady, pace.sure_s
        if candidate.spot:
            outcome = pace.on_spot(row.interruption_rate)
            if too_often(self.constraints.checkpoint, outcome):
                return None
            sure_s = pace.sure_on_spot_s(row.interruption_rate)
        figures = self._expected(candidate, row, place, outcome)
        if self._forbidden(candidate, row, place, *figures):
            return None
        usd_per_s = self._most_usd_per_s(candidate, row, place)
        return Needs(sure_s, usd_per_s * sure_s + place.once_usd(sure_s))

    def least_needs(self, candidate: Candidate) -> Needs:
        """No price of the candidate needs less than this of either."""
        machine, place = candidate.machine, self._best_place(candidate)
        sure_s = min(pace.sure_s for pace in machine.paces)
        usd_per_s = self._most_usd_per_s(candidate, candidate.rows[0], place)
        return Needs(sure_s, usd_per_s * sure_s + place.fixed_usd)

    def forbidden_anywhere(self, candidate: Candidate) -> bool:
        """Whether the policy forbids the machine even at the least price, cost and carbon."""
        cheapest, place = candidate.rows[0], self._best_place(candidate)
        quickest = min((p.steady for p in candidate.machine.paces), key=attrgetter("expected_s"))
        figures = self._expected(candidate, cheapest, place, quickest)
        return self._forbidden(candidate, cheapest, place, *figures) is not None

    def prices(self, candidate: Candidate) -> Iterable[RegionPrice]:
        """All that are known of a candidate, or can be."""
        return candidate.rows if candidate.complete else self.more(candidate)

    def _in_order(self, heap: list[tuple[Key, int, Candidate, Pick | None]]) -> Iterator[Pick]:
        while heap:
            _, number, candidate, pick = heapq.heappop(heap)
            if pick is not None:
                yield pick
                continue
            # Known to be feasible in some region, so the full look always finds one.
            best = self._full_look(candidate)
            assert isinstance(best, Pick)
            heapq.heappush(heap, (best.key, number, candidate, best))

    def _first_look(self, candidate: Candidate) -> Key | Pick | Refusal:
        """A bound on the key when feasible for certain; else the exact answer."""
        cheapest, place = candidate.rows[0], self._best_place(candidate)
        # What falling back costs is worked out only of what may be among the best.
        if self.case(candidate, cheapest) is not None:
            return self._bound(candidate, cheapest, place)
        if candidate.complete:
            return self._full_look(candidate)
        hopeless = self._steady_refusal(candidate, cheapest, place)
        if hopeless is not None:
            return hopeless
        # Only a limit, a policy or an interruption tells one region from another.
        told_apart = self._limited or self.judge is not None or candidate.spot
        if told_apart and isinstance(self._look(candidate, cheapest), Refusal):
            return self._full_look(candidate)
        return self._bound(candidate, cheapest, place)

    def _full_look(self, candidate: Candidate) -> Pick | Refusal:
        """The best region, or why there is none; stops where dearer ones cannot be better."""
        best: Pick | None = None
        refusal: Refusal | None = None
        cheapest_place = None if candidate.complete else self._best_place(candidate)
        table = self.places[candidate.option]
        for row in self.prices(candidate):
            if best is not None:
                if cheapest_place and best.key <= self._bound(candidate, row, cheapest_place):
                    break
                if best.key <= self._bound(candidate, row, _known(table[row.region_id])):
                    continue
            elif (
                refusal and cheapest_place and self._steady_refusal(candidate, row, cheapest_place)
            ):
                break
            found = self._look(candidate, row)
            if isinstance(found, Refusal):
                if refusal is None and self.forbidden_anywhere(candidate):
                    return found
                refusal = refusal or found
            elif best is None or found.key < best.key:
                best = found
        if best is not None:
            return self._looked_up(best)
        assert refusal is not None, "a candidate has at least one price"
        return refusal

    def _bound(self, candidate: Candidate, row: RegionPrice, place: RegionCosts) -> Key:
        """At the price of `row` or above, no machine in `place` has a smaller key than this."""
        steady = candidate.machine.pace_in(row.region_id).steady
        cost = self._usd_per_s(row, place) * steady.undisturbed_s + place.fixed_usd
        carbon = self._carbon(candidate, steady, place) if self.carbon_matters else None
        return sort_key(self.constraints.objective, cost, steady.undisturbed_s, carbon)

    def _best_place(self, candidate: Candidate) -> RegionCosts:
        """No region of the candidate's cloud adds less than this."""
        return self._least[candidate.option][candidate.machine.type.cloud]

    def _steady_refusal(
        self, candidate: Candidate, row: RegionPrice, place: RegionCosts
    ) -> Refusal | None:
        """The first limit that even an uninterrupted run in `place` breaks."""
        pace = candidate.machine.pace_in(row.region_id)
        # No limit makes credits last. Who named the type, and no duration, is told of an hour.
        limited = self.constraints.judged or not candidate.named
        if limited and (throttled := credits_run_out(candidate.machine.type, pace.sure_s)):
            return Refusal(candidate, row, Reason.CREDITS_RUN_OUT, throttled)
        deadline_s = self.constraints.deadline_s
        if deadline_s is not None and deadline_s < pace.sure_s:
            return Refusal(candidate, row, Reason.TOO_SLOW, needs_s=pace.sure_s)
        if self.budget is None:
            return None
        usd_per_s = self._most_usd_per_s(candidate, row, place)
        needs_usd = usd_per_s * pace.sure_s + place.once_usd(pace.sure_s)
        if self.budget < needs_usd:
            return Refusal(candidate, row, Reason.OVER_BUDGET, needs_usd=needs_usd)
        return None

    def case(self, candidate: Candidate, row: RegionPrice) -> "Case | None":
        """The machine as spot that may fall back on demand; None where it may not.

        The policy has to allow both, even where all of the work is on demand in the end.
        """
        if self._falling_back is None or not candidate.spot:
            return None
        place = _known(self.places[candidate.option][row.region_id])
        found = self._falling_back.case(candidate, row, place)
        if found is None or self._steady_refusal(candidate, row, place) is not None:
            return None
        if self.judge is not None:
            nano_usd = int(found.on_demand_price_per_hour_usd * NANO_PER_USD)
            on_demand = row._replace(nano_usd_per_hour=nano_usd)
            carbon = self._carbon(candidate, candidate.machine.pace.steady, place)
            for other in (candidate, replace(candidate, spot=False)):
                if self._forbidden(other, on_demand, place, found.most_usd, carbon):
                    return None
        return found

    def _look(self, candidate: Candidate, row: RegionPrice) -> Pick | Refusal:
        """One machine in one region: its key, or the first limit that it breaks.

        Spot falls back on demand where it may, and stands alone where it may not. What it costs to
        fall back is told only nearly, which will do between regions: see `_looked_up`.
        """
        case = self.case(candidate, row)
        if case is None or self._falling_back is None:
            return self._steadfast(candidate, row)
        return self._fallen_back(candidate, row, case, self._falling_back.about_usd(case))

    def _looked_up(self, pick: Pick) -> Pick:
        """The pick with its exact key."""
        if not pick.falls_back or self._falling_back is None:
            return pick
        case = _known(self.case(pick.candidate, pick.row))
        usd = self._falling_back.expected_usd(case)
        return self._fallen_back(pick.candidate, pick.row, case, usd)

    def _fallen_back(
        self, candidate: Candidate, row: RegionPrice, case: "Case", usd: float
    ) -> Pick:
        pace = candidate.machine.pace_in(row.region_id).steady
        ranked = usd + price_width(True, row.age_days) * (usd - case.beside_machines_usd)
        key = sort_key(self.constraints.objective, ranked, pace.expected_s, None)
        return Pick(candidate, row, key, falls_back=True)

    def _steadfast(self, candidate: Candidate, row: RegionPrice) -> Pick | Refusal:
        """The same of a machine that is never left for one in the other market."""
        constraints = self.constraints
        pace = candidate.machine.pace_in(row.region_id)
        place = _known(self.places[candidate.option][row.region_id])
        refusal = self._steady_refusal(candidate, row, place)
        if refusal is not None:
            return refusal
        outcome = pace.steady
        if candidate.spot:
            outcome = pace.on_spot(row.interruption_rate)
            if gamble := too_often(constraints.checkpoint, outcome):
                return Refusal(candidate, row, Reason.INTERRUPTED_TOO_OFTEN, gamble)
            if not pace.in_time_on_spot(row.interruption_rate):
                return Refusal(candidate, row, Reason.TOO_SLOW, INTERRUPTED)
            if self.budget is not None:
                usd_per_s = self._most_usd_per_s(candidate, row, place)
                affordable_s = place.affordable_s(self.budget, usd_per_s)
                if not outcome.reaches(affordable_s, constraints.confidence):
                    return Refusal(candidate, row, Reason.OVER_BUDGET, INTERRUPTED)
        cost, carbon = self._expected(candidate, row, place, outcome)
        if forbidden := self._forbidden(candidate, row, place, cost, carbon):
            return Refusal(candidate, row, Reason.FORBIDDEN_BY_POLICY, forbidden)
        # An old price wins only by more than it may have risen.
        width = price_width(candidate.spot, row.age_days)
        machines_usd = row.nano_usd_per_hour * NANO * constraints.nodes * outcome.expected_s / 3600
        ranked = cost + width * machines_usd
        key = sort_key(constraints.objective, ranked, outcome.expected_s, carbon)
        return Pick(candidate, row, key)

    def _expected(
        self, candidate: Candidate, row: RegionPrice, place: RegionCosts, outcome: Outcome
    ) -> tuple[float, float | None]:
        """What a run costs in USD and emits in kgCO2e, on average; the latter where it matters."""
        expected_s = outcome.expected_s
        cost = self._usd_per_s(row, place) * expected_s + place.once_usd(expected_s)
        return cost, self._carbon(candidate, outcome, place) if self.carbon_matters else None

    def _forbidden(
        self,
        candidate: Candidate,
        row: RegionPrice,
        place: RegionCosts,
        cost: float,
        carbon: float | None,
    ) -> str | None:
        """Why the policy forbids this, if it does."""
        if self.judge is None:
            return None
        figures = self._judged((cost, carbon))
        hit = self.judge.machine(self._subject(candidate, row, place.region, *figures))
        return None if hit is None else str(hit)

    def _judged(
        self, figures: tuple[float, float | None]
    ) -> "tuple[float | Undecided, float | Undecided | None]":
        """Cost and carbon as rules see them: of a run that nobody knows, no figure at all."""
        if self.constraints.judged:
            return figures
        from mlbroker.policies.guardrails.interface import UNDECIDED

        return UNDECIDED, UNDECIDED

    def _subject(
        self,
        candidate: Candidate,
        row: RegionPrice,
        region: "str | Undecided",
        cost: "float | Undecided",
        carbon: "float | Undecided | None",
    ) -> "Subject":
        """A machine as the policy looks at it."""
        from mlbroker.policies.guardrails.interface import UNDECIDED, Subject

        return Subject.screened(
            candidate.machine.type,
            candidate.market,
            self.constraints.nodes,
            row.nano_usd_per_hour * NANO,
            region=region or UNDECIDED,
            cost_usd=cost,
            carbon_kg=carbon,
        )

    def _usd_per_s(self, row: RegionPrice, place: RegionCosts) -> float:
        return (row.nano_usd_per_hour * NANO + place.usd_per_hour) * self.constraints.nodes / 3600

    def _most_usd_per_s(self, candidate: Candidate, row: RegionPrice, place: RegionCosts) -> float:
        """No less than a run reserves: a spot price may rise. Budgets are kept even so."""
        usd = row.nano_usd_per_hour * NANO
        if candidate.spot:
            usd = at_most_per_hour_usd(candidate.machine.type.cloud, usd)
        return (usd + place.usd_per_hour) * self.constraints.nodes / 3600

    def _carbon(self, candidate: Candidate, outcome: Outcome, place: RegionCosts) -> float | None:
        if place.kg_per_kwh is None or (watts := candidate.machine.power_w) is None:
            return None
        return watts / 1000 * outcome.expected_s / 3600 * self.constraints.nodes * place.kg_per_kwh


def _known(found: T | None) -> T:
    """A place of a price, or the case of a pick: what was read or told before is there."""
    assert found is not None
    return found
