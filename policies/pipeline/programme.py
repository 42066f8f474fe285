"""The choice of options as a mixed-integer programme, solved by HiGHS.

One 0-1 variable a stage and option. Traffic is a flow between the places of two stages, and the
reuse of a machine a product of two choices, both linear and exact for whole choices. The chance of
the deadline is a bound on each path, mean + z · sqrt(sum of variances) <= deadline. The spread, the
square root, is approached from outside by tangents of its convex envelope (Kelley's cutting planes;
see `spread`).
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from mlbroker.policies.pipeline.interface import Problem
from mlbroker.policies.pipeline.rows import SMALL, Found, Rows, Terms
from mlbroker.policies.pipeline.spread import Tangent, tangent, tangent_above

# By so much of the value a choice may first be worse than the relaxed programme's.
_FIRST_WIDTH = 3e-3
# Labels kept for a stage when the riskiest path to it is sought.
_LABELS = 60


class Programme:
    """The programme of a problem over the options `kept` of each stage; it learns tangents."""

    def __init__(self, problem: Problem, kept: Sequence[Sequence[int]]) -> None:
        self._problem = problem
        self.kept = kept
        self._scores: list[float] = []
        self._upper: list[float] = []
        self._rows: list[tuple[Terms, float, float]] = []
        self._x: list[list[int]] = []
        self._means: list[Terms] = []
        self._sds: list[Terms] = []
        self._cost: Terms = {}
        self._usd_sds: list[Terms] = []
        self._moves: dict[tuple[int, int], Terms] = {}
        # Of a path, or (None) of what all cost.
        self._tangents: list[tuple[tuple[int, ...] | None, Tangent]] = []
        # How far the last whole choice was above the relaxed one, as a share of it.
        self._width = _FIRST_WIDTH
        for number in range(len(problem.stages)):
            self._choose(number)
        self.binaries = len(self._scores)
        self._share_machines()
        self._move_outputs()
        self._ends: list[int] = []
        if problem.by_time or problem.deadline_s is not None:
            self._ends = [self._variable(0.0, math.inf) for _ in problem.stages]
        self._whole = self._variable(1.0, math.inf) if problem.by_time else None
        self._order_in_time()

    def solve(self, z: float, left: Callable[[], float], *, whole: bool = True) -> Found | None:
        """The best choice under the tangents known so far at `z`, within the seconds `left`; None
        where there is none.

        Of many options only those are looked at that the relaxed programme's reduced costs do not
        rule out: a choice with any other is worse by more than `width`.
        """
        rows = self._rows + [
            self._limit(path, spread, z)
            for path, spread in self._tangents
            if spread.above == (z < 0)
        ]
        relaxed = Rows(rows + self._layer(z), self._scores, self._upper)
        if not whole or self.binaries <= SMALL:
            return relaxed.milp(self.binaries if whole else 0, None, left())
        found = relaxed.linear(left())
        if found is None:
            return None
        value, reduced = found
        width = self._width * abs(value)
        while True:
            out = [column for column in range(self.binaries) if reduced[column] > width]
            best = relaxed.milp(self.binaries, out, left())
            if best is None and not out:
                return None
            if best is not None and (best.value <= value + width or not best.done or not out):
                beyond = value + width if out else best.value
                self._width = max(1.1 * (best.value - value) / max(abs(value), 1e-12), _FIRST_WIDTH)
                return best._replace(bound=min(best.bound, beyond))
            if left() <= 0:
                return None
            width = width * 8 if best is None else (best.value - value) * (1 + 1e-9)

    def picks(self, found: Found) -> tuple[int, ...]:
        """The options chosen, by their numbers in the problem."""
        return tuple(
            max(zip(columns, kept, strict=True), key=lambda pair: found.variables[pair[0]])[1]
            for columns, kept in zip(self._x, self.kept, strict=True)
        )

    def learn(self, found: Found, z: float) -> bool:
        """Tangents where this choice breaks a limit; False where it keeps all."""
        problem, values = self._problem, found.variables
        touch = tangent_above if z < 0 else tangent
        learnt = False
        if problem.deadline_s is not None:
            path, length = self._riskiest(values, z)
            spread = touch([self._sds[number] for number in path], values)
            length += z * spread.at(values)
            if length > problem.deadline_s * (1 + 1e-7):
                self._tangents.append((path, spread))
                learnt = True
        if problem.budget_usd is not None:
            spread = touch(self._usd_sds, values)
            most = _dot(self._cost, values) + z * spread.at(values)
            if most > problem.budget_usd * (1 + 1e-9):
                self._tangents.append((None, spread))
                learnt = True
        return learnt

    def forbid(self, picks: Sequence[int]) -> None:
        """Never choose just these again."""
        terms = {
            self._x[stage][list(self.kept[stage]).index(pick)]: 1.0
            for stage, pick in enumerate(picks)
        }
        self._rows.append((terms, -math.inf, len(picks) - 1.0))

    def _variable(self, score: float, upper: float) -> int:
        self._scores.append(score)
        self._upper.append(upper)
        return len(self._scores) - 1

    def _counts(self, score: float) -> float:
        """What a score weighs: beside time only as much as decides between equals."""
        return score * self._tie if self._problem.by_time else score

    @cached_property
    def _tie(self) -> float:
        scores = [o.score for stage in self._problem.stages for o in stage.options]
        means = [o.mean_s for stage in self._problem.stages for o in stage.options]
        return 1e-5 * (sum(means) / len(means)) / max(sum(scores) / len(scores), 1e-12)

    def _choose(self, number: int) -> None:
        stage = self._problem.stages[number]
        options = [stage.options[pick] for pick in self.kept[number]]
        columns = [self._variable(self._counts(option.score), 1.0) for option in options]
        pairs = list(zip(columns, options, strict=True))
        self._x.append(columns)
        self._rows.append((dict.fromkeys(columns, 1.0), 1.0, 1.0))
        self._means.append({column: option.mean_s for column, option in pairs})
        self._sds.append({column: option.sd_s for column, option in pairs})
        self._cost |= {column: option.cost_usd for column, option in pairs}
        self._usd_sds.append({column: o.usd_per_s * o.sd_s for column, o in pairs})

    def _share_machines(self) -> None:
        for number, before in enumerate(self._problem.chained):
            if before is None:
                continue
            at_before, here = self._by(before, "machine"), self._by(number, "machine")
            for machine in sorted((at_before.keys() & here.keys()) - {""}):
                saved = here[machine][0][1]
                again = self._variable(-self._counts(saved.setup_score), 1.0)
                for side in (at_before, here):
                    terms = {column: -1.0 for column, _ in side[machine]}
                    self._rows.append(({again: 1.0, **terms}, -math.inf, 0.0))
                self._means[number][again] = -saved.setup_s
                self._cost[again] = -saved.setup_usd

    def _move_outputs(self) -> None:
        problem = self._problem
        for number, stage in enumerate(problem.stages):
            for before in stage.needs:
                sources, targets = self._by(before, "place"), self._by(number, "place")
                ways = {
                    (source, target): problem.link(before, source, target)
                    for source in sources
                    for target in targets
                }
                self._moves[before, number] = {}
                if not any(usd or seconds for usd, seconds in ways.values()):
                    continue
                flows = {}
                for way, (usd, seconds) in ways.items():
                    flow = self._variable(self._counts(problem.traffic_weight * usd), 1.0)
                    flows[way] = flow
                    self._moves[before, number][flow] = seconds
                    self._cost[flow] = usd
                for side, places in ((0, sources), (1, targets)):
                    for place, members in places.items():
                        terms = {flow: 1.0 for way, flow in flows.items() if way[side] == place}
                        terms |= {column: -1.0 for column, _ in members}
                        self._rows.append((terms, 0.0, 0.0))

    def _by(self, number: int, what: str) -> dict[str, list[tuple[int, Any]]]:
        """A stage's columns with their options, by place or by machine."""
        options = self._problem.stages[number].options
        found: dict[str, list[tuple[int, Any]]] = {}
        for column, pick in zip(self._x[number], self.kept[number], strict=True):
            found.setdefault(getattr(options[pick], what), []).append((column, options[pick]))
        return found

    def _order_in_time(self) -> None:
        """With time as the objective: the whole lasts until the last stage has ended."""
        if self._whole is None:
            return
        mean_ends = [self._variable(0.0, math.inf) for _ in self._problem.stages]
        self._rows += self._chain(mean_ends, [{} for _ in mean_ends])
        self._rows += [({self._whole: 1.0, end: -1.0}, 0.0, math.inf) for end in mean_ends]

    def _chain(
        self, ends: Sequence[int], margins: Sequence[Terms]
    ) -> list[tuple[Terms, float, float]]:
        """Each stage ends when those before it have, their outputs are there, and it has run."""
        rows = []
        for number, stage in enumerate(self._problem.stages):
            lasts = dict(self._means[number])
            for column, seconds in margins[number].items():
                lasts[column] = lasts.get(column, 0.0) + seconds
            taken = {column: -seconds for column, seconds in lasts.items()}
            if not stage.needs:
                rows.append(({ends[number]: 1.0, **taken}, 0.0, math.inf))
            for before in stage.needs:
                moved = {c: -s for c, s in self._moves[before, number].items()}
                rows.append(
                    ({ends[number]: 1.0, ends[before]: -1.0, **taken, **moved}, 0.0, math.inf)
                )
        return rows

    def _layer(self, z: float) -> list[tuple[Terms, float, float]]:
        """A tangent of all paths at once: the spread of a path is at least the sum of its stages'
        over the root of their number, and at most that sum.
        """
        deadline_s = self._problem.deadline_s
        if deadline_s is None:
            return []
        longest = self._longest
        margins = [
            {
                column: z * sd / (math.sqrt(longest[number]) if z > 0 else 1.0)
                for column, sd in terms.items()
            }
            for number, terms in enumerate(self._sds)
        ]
        rows = self._chain(self._ends, margins)
        return rows + [({end: 1.0}, -math.inf, deadline_s) for end in self._ends]

    @property
    def _longest(self) -> list[int]:
        """The number of stages on the longest path through each."""
        problem = self._problem
        up, down = [1] * len(problem.stages), [1] * len(problem.stages)
        for number in problem.order:
            up[number] = 1 + max((up[before] for before in problem.stages[number].needs), default=0)
        for number in reversed(problem.order):
            down[number] = 1 + max((down[after] for after in problem.followers[number]), default=0)
        return [a + b - 1 for a, b in zip(up, down, strict=True)]

    def _limit(
        self, path: tuple[int, ...] | None, spread: Tangent, z: float
    ) -> tuple[Terms, float, float]:
        """What a path, or all, may take at most, with the spread that its tangent knows of."""
        terms: Terms = {}

        def add(more: Terms, by: float = 1.0) -> None:
            for column, value in more.items():
                terms[column] = terms.get(column, 0.0) + by * value

        add(spread.terms, z)
        if path is None:
            assert self._problem.budget_usd is not None
            add(self._cost)
            return terms, -math.inf, self._problem.budget_usd - z * spread.constant
        assert self._problem.deadline_s is not None
        for place, number in enumerate(path):
            add(self._means[number])
            if place:
                add(self._moves[path[place - 1], number])
        return terms, -math.inf, self._problem.deadline_s - z * spread.constant

    def _riskiest(self, values: Sequence[float], z: float) -> tuple[tuple[int, ...], float]:
        """The path with the largest mean + z · root of the mean variance, and its mean."""
        problem = self._problem
        means = [_dot(terms, values) for terms in self._means]
        variances = [
            sum(sd * sd * values[column] for column, sd in terms.items()) for terms in self._sds
        ]
        sign = -1 if z < 0 else 1
        Label = tuple[float, float, tuple[Any, int] | None]
        labels: list[list[Label]] = [[] for _ in means]

        def length(label: Label) -> float:
            return label[0] + z * math.sqrt(max(label[1], 0.0))

        for number in problem.order:
            stage = problem.stages[number]
            found: list[Label] = (
                [(means[number], variances[number], None)] if not stage.needs else []
            )
            for before in stage.needs:
                moved = _dot(self._moves[before, number], values)
                found += [
                    (mean + moved + means[number], var + variances[number], (label, before))
                    for label in labels[before]
                    for mean, var, _ in (label,)
                ]
            found.sort(key=lambda label: (-label[0], -sign * label[1]))
            best: list[Label] = []
            for label in found:
                if not best or sign * label[1] > sign * best[-1][1]:
                    best.append(label)
            labels[number] = sorted(best, key=length, reverse=True)[:_LABELS]
        worst, at = max(
            ((label, number) for number in range(len(means)) for label in labels[number]),
            key=lambda pair: length(pair[0]),
        )
        path, label = [at], worst
        while label[2] is not None:
            label, before = label[2]
            path.append(before)
        path.reverse()
        return tuple(path), worst[0]


def _dot(terms: Terms, values: Sequence[float]) -> float:
    return sum(factor * values[column] for column, factor in terms.items())
