"""What another choice of one stage would do to the whole."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mlbroker.policies.pipeline.interface import Problem, Selection
from mlbroker.policies.pipeline.schedule import Simulator, cost_of


class Alternative(NamedTuple):
    """A stage with its next cheaper or next faster option, and the whole with it."""

    option: int
    whole: Selection


class Choices(NamedTuple):
    """The next choices of one stage; None where there is none."""

    cheaper: Alternative | None
    faster: Alternative | None


def choices(problem: Problem, selection: Selection) -> list[Choices]:
    """For each stage, all others as they are."""
    simulator = Simulator(problem)
    return [_of(problem, simulator, selection, number) for number in range(len(problem.stages))]


def _of(problem: Problem, simulator: Simulator, selection: Selection, number: int) -> Choices:
    options, picks = problem.stages[number].options, selection.picks
    now = options[picks[number]]
    # What the whole costs with each, traffic and machines that go on included.
    costs = {}
    for other in range(len(options)):
        chosen = [
            stage.options[other if n == number else picks[n]]
            for n, stage in enumerate(problem.stages)
        ]
        costs[other] = cost_of(problem, chosen)

    def with_it(
        candidates: Sequence[int], key: Callable[[int], tuple[float, float]]
    ) -> Alternative | None:
        if not candidates:
            return None
        best = min(candidates, key=key)
        return Alternative(best, simulator.selection((*picks[:number], best, *picks[number + 1 :])))

    cheaper = [n for n in costs if costs[n] < selection.cost_usd * (1 - 1e-9)]
    faster = [n for n in costs if options[n].mean_s < now.mean_s * 0.99]
    # The quickest of all that are cheaper, and the cheapest of all that are faster: the next ones.
    return Choices(
        with_it(cheaper, lambda n: (options[n].mean_s, costs[n])),
        with_it(faster, lambda n: (costs[n], options[n].mean_s)),
    )
