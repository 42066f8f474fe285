"""What past tasks say comes first, weighed by how alike they are."""

import pytest
from tests.support.curves import InOrder, curves

from mlbroker.policies.tuning.interface import FAILED
from mlbroker.policies.tuning.past import PAST_ALONE, PastFirst
from mlbroker.policies.tuning.replay import Curves

CONFIGS = tuple(f"c{number}" for number in range(30))


def task(ends: list[float], name: str = "a", step_s: float = 1.0) -> Curves:
    return Curves(name, CONFIGS, [[end / 2, end] for end in ends], [step_s] * len(ends))


UP = [float(number) for number in range(30)]
DOWN = UP[::-1]


def asked(past: list[Curves], most: int = 5) -> list[int | None]:
    searcher = PastFirst(CONFIGS, past, InOrder([]), set(range(30)))
    return [searcher.ask() for _ in range(most)]


def test_the_best_of_the_past_is_tried_first_and_nothing_twice() -> None:
    assert asked([task(UP)], 3) == [29, 28, 27]
    everything = asked([task(UP)], 31)
    assert sorted(everything[:30], key=str) == sorted(range(30), key=str)
    assert everything[30] is None


def test_where_the_past_disagrees_each_side_has_its_turn() -> None:
    assert set(asked([task(UP), task(DOWN)], 2)) == {0, 29}


def test_what_a_step_costs_counts() -> None:
    dear = task(UP)._replace(step_s=[1.0] * 29 + [20.0])
    assert asked([dear], 2) == [28, 27]


def test_a_task_that_orders_trials_alike_gains_weight() -> None:
    searcher = PastFirst(CONFIGS, [task(UP), task(DOWN)], InOrder([]), set(range(30)))
    first = [searcher.ask() for _ in range(4)]
    for config in first:
        assert config is not None
        searcher.tell(config, [UP[config]])
    assert searcher.ask() == max(set(range(30)) - set(first))  # type: ignore[type-var]


def test_failures_and_configurations_that_the_past_lacks_are_borne() -> None:
    part = Curves("a", CONFIGS[:10], [[FAILED, FAILED]] * 5 + [[1.0, float(n)] for n in range(5)],
                  [1.0] * 10)  # fmt: skip
    searcher = PastFirst(CONFIGS, [part], InOrder([]), set(range(30)))
    assert searcher.ask() == 9
    searcher.tell(9, [FAILED, FAILED])
    searcher.tell(29, [0.5, 0.5])
    assert searcher.ask() == 8


def test_every_third_is_the_cold_searchers_later_on() -> None:
    cold = InOrder(range(30))
    left = set(range(30))
    searcher = PastFirst(CONFIGS, [task(UP)], cold, left)
    found = [searcher.ask() for _ in range(PAST_ALONE + 3)]
    assert found[:PAST_ALONE] == list(range(29, 29 - PAST_ALONE, -1))
    assert 0 in found[PAST_ALONE:]
    searcher.tell(0, [0.5])
    assert cold.told == [(0, 1, 0.5)]


@pytest.mark.filterwarnings("error")
def test_curves_of_all_kinds_make_no_noise() -> None:
    past = [curves(seed, 30) for seed in range(3)]
    failed = past[0]._replace(scores=[[FAILED] * 27 if n % 3 else row
                                      for n, row in enumerate(past[0].scores)])  # fmt: skip
    searcher = PastFirst(CONFIGS, [failed, *past[1:]], InOrder([]), set(range(30)))
    for step in (1, 3):
        for _ in range(5):
            config = searcher.ask()
            assert config is not None
            searcher.tell(config, past[1].scores[config][:step])
