"""The choice of options as a mixed-integer programme, solved by HiGHS.

One 0-1 variable a stage and option. Traffic is a flow between the places of two stages, and the
reuse of a machine a product of two choices, both linear and exact for whole choices. The chance of
the deadline is a bound on each path, mean + z · sqrt(sum of variances) <= deadline: a convex cone
in the stages' standard deviations, each of which is linear in the choice. It is approached from
outside by its tangents (Kelley's cutting planes); those of a path with weights w, sum of w² <= 1,
read mean + z · sum of w·sd <= deadline.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mlbroker.policies.pipeline.interface import Problem

if TYPE_CHECKING:
    import numpy as np

# Where there are so few choices, they are solved to the last digit, others to a gap.
_SMALL = 250
_GAP = 4e-4
# By so much of the value a choice may first be worse than the relaxed programme's.
_FIRST_WIDTH = 3e-3
# Labels kept for a stage when the riskiest path to it is sought.
_LABELS = 60
Terms = dict[int, float]


class Found(NamedTuple):
    """The variables (those of the options come first, whole where solved as such), the value, and
    a bound that no choice is below. `done` is False where time ran out.
    """

    variables: list[float]
    value: float
    bound: float
    done: bool


class _Rows:
    """A programme as the solver takes it: rows of terms between two numbers."""

    def __init__(
        self,
        rows: Sequence[tuple[Terms, float, float]],
        scores: Sequence[float],
        upper: Sequence[float],
    ) -> None:
        import numpy as np
        from scipy.sparse import csr_matrix

        data: list[float] = []
        columns: list[int] = []
        starts = [0]
        for terms, _, _ in rows:
            data += terms.values()
            columns += terms.keys()
            starts.append(len(columns))
        self._matrix = csr_matrix((data, columns, starts), shape=(len(rows), len(scores)))
        self._low = np.array([low for _, low, _ in rows])
        self._high = np.array([high for _, _, high in rows])
        self._upper = np.array(upper)
        # Scores of any size: to the solver the largest is one.
        self._unit = max(max(map(abs, scores)), 1e-12)
        self._scores = np.array(scores) / self._unit

    def milp(self, binaries: int, out: Sequence[int] | None, seconds: float) -> Found | None:
        """The first `binaries` variables whole, those that are `out` zero."""
        import numpy as np
        from scipy.optimize import Bounds, LinearConstraint, milp

        upper = self._upper.copy()
        upper[list(out or ())] = 0.0
        integrality = np.zeros(len(upper))
        integrality[:binaries] = 1
        result = milp(
            self._scores,
            integrality=integrality,
            bounds=Bounds(0, upper),
            constraints=LinearConstraint(self._matrix, self._low, self._high),
            options={
                "time_limit": max(seconds, 0.05),
                "mip_rel_gap": 0.0 if binaries <= _SMALL else _GAP,
            },
        )
        if result.x is None:
            return None
        value, bound = float(result.fun) * self._unit, result.get("mip_dual_bound")
        least = value if bound is None else float(bound) * self._unit
        return Found(result.x.tolist(), value, least, result.status == 0)

    def linear(self) -> "tuple[float, np.ndarray] | None":
        """The value with no variable whole, and by how much a unit of each would worsen it."""
        import numpy as np
        from scipy.optimize import linprog
        from scipy.sparse import vstack

        equal = self._low == self._high
        up = ~equal & np.isfinite(self._high)
        down = ~equal & np.isfinite(self._low)
        result = linprog(
            self._scores,
            A_ub=vstack([self._matrix[up], -self._matrix[down]]),
            b_ub=np.concatenate([self._high[up], -self._low[down]]),
            A_eq=self._matrix[equal],
            b_eq=self._low[equal],
            bounds=np.stack([np.zeros(len(self._upper)), self._upper], axis=1),
            method="highs",
        )
        if result.status != 0:
            return None
        return float(result.fun) * self._unit, result.lower.marginals * self._unit


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
        # Tangents: a path with weights, or None and weights for the cost of all.
        self._tangents: list[tuple[tuple[int, ...] | None, dict[int, float]]] = []
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
        rows = self._rows + [self._limit(tangent, z) for tangent in self._tangents]
        relaxed = _Rows(rows + self._layer(z), self._scores, self._upper)
        if not whole or self.binaries <= _SMALL:
            return relaxed.milp(self.binaries if whole else 0, None, left())
        found = relaxed.linear()
        if found is None:
            return None
        value, reduced = found
        width = _FIRST_WIDTH * abs(value)
        while True:
            out = [column for column in range(self.binaries) if reduced[column] > width]
            best = relaxed.milp(self.binaries, out, left())
            if best is None and not out:
                return None
            if best is not None and (best.value <= value + width or not best.done or not out):
                beyond = value + width if out else best.value
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
        learnt = False
        if problem.deadline_s is not None:
            path, weights, length = self._riskiest(values, z)
            if length > problem.deadline_s * (1 + 1e-7):
                self._tangents.append((path, weights))
                learnt = True
        if problem.budget_usd is not None:
            sds = [_dot(terms, values) for terms in self._usd_sds]
            norm = math.hypot(*sds)
            if _dot(self._cost, values) + z * norm > problem.budget_usd * (1 + 1e-9) and norm > 0:
                self._tangents.append((None, {n: sd / norm for n, sd in enumerate(sds)}))
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

    @property
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
        """A tangent of all paths at once: on a path, a stage's weight is at most one over the root
        of the number of its stages.
        """
        deadline_s = self._problem.deadline_s
        if deadline_s is None:
            return []
        longest = self._longest
        margins = [
            {column: z * sd / math.sqrt(longest[number]) for column, sd in terms.items()}
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
        self, tangent: tuple[tuple[int, ...] | None, dict[int, float]], z: float
    ) -> tuple[Terms, float, float]:
        path, weights = tangent
        terms: Terms = {}

        def add(more: Terms, by: float = 1.0) -> None:
            for column, value in more.items():
                terms[column] = terms.get(column, 0.0) + by * value

        if path is None:
            assert self._problem.budget_usd is not None
            add(self._cost)
            for number, weight in weights.items():
                add(self._usd_sds[number], z * weight)
            return terms, -math.inf, self._problem.budget_usd
        assert self._problem.deadline_s is not None
        for place, number in enumerate(path):
            add(self._means[number])
            add(self._sds[number], z * weights[number])
            if place:
                add(self._moves[path[place - 1], number])
        return terms, -math.inf, self._problem.deadline_s

    def _riskiest(
        self, values: Sequence[float], z: float
    ) -> tuple[tuple[int, ...], dict[int, float], float]:
        """The path with the largest mean + z · sd, the weights of its tangent, and that length."""
        problem = self._problem
        means = [_dot(terms, values) for terms in self._means]
        sds = [_dot(terms, values) for terms in self._sds]
        Label = tuple[float, float, tuple[Any, int] | None]
        labels: list[list[Label]] = [[] for _ in means]

        def length(label: Label) -> float:
            return label[0] + z * math.sqrt(label[1])

        for number in problem.order:
            stage = problem.stages[number]
            found: list[Label] = (
                [(means[number], sds[number] ** 2, None)] if not stage.needs else []
            )
            for before in stage.needs:
                moved = _dot(self._moves[before, number], values)
                found += [
                    (mean + moved + means[number], var + sds[number] ** 2, (label, before))
                    for label in labels[before]
                    for mean, var, _ in (label,)
                ]
            found.sort(key=lambda label: (-label[0], -label[1]))
            best: list[Label] = []
            for label in found:
                if not best or label[1] > best[-1][1]:
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
        norm = math.hypot(*(sds[number] for number in path)) or 1.0
        return tuple(path), {number: sds[number] / norm for number in path}, length(worst)


def _dot(terms: Terms, values: Sequence[float]) -> float:
    return sum(factor * values[column] for column, factor in terms.items())
