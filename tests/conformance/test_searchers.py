"""Every searcher of the registry is held to what all promise."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.broker.tuning.searchers import SEARCHERS
from mlbroker.policies.tuning.interface import FAILED, Searcher
from mlbroker.profiles.search_space import Choice, Point, Range, Space

SPACE: Space = {
    "LR": Range(1e-5, 1e-1, log=True),
    "DROPOUT": Range(0.0, 0.5),
    "LAYERS": Range(1, 4, whole=True),
    "WIDTH": Range(16, 256, log=True, whole=True),
    "OPT": Choice(("sgd", "adam")),
}


@pytest.fixture(params=SEARCHERS)
def make(request: pytest.FixtureRequest) -> Callable[[int], Searcher[Point]]:
    if request.param == "tpe":
        pytest.importorskip("optuna")
    return lambda seed: SEARCHERS[request.param](SPACE, seed)


def worth(point: Point) -> float:
    return FAILED if point["OPT"] == "sgd" and point["LAYERS"] == 4 else -float(point["DROPOUT"])


def asked(searcher: Searcher[Point], most: int = 40) -> list[Point]:
    found = []
    for number in range(most):
        point = searcher.ask()
        assert point is not None
        found.append(point)
        searcher.tell(point, [worth(point)] * (1 + number % 3))
        if number % 4 == 0:
            searcher.tell(point, [worth(point)] * 9)
    return found


def test_every_point_lies_in_the_space(make: Callable[[int], Searcher[Point]]) -> None:
    for point in asked(make(1)):
        assert list(point) == list(SPACE)
        for name, part in SPACE.items():
            value = point[name]
            if isinstance(part, Choice):
                assert value in part.values
            else:
                assert not isinstance(value, str)
                assert part.low <= value <= part.high
                assert isinstance(value, int) is part.whole


def test_the_seed_decides(make: Callable[[int], Searcher[Point]]) -> None:
    assert asked(make(1), 15) == asked(make(1), 15)
    assert asked(make(1), 15) != asked(make(2), 15)


def test_tpe_learns_from_what_it_is_told() -> None:
    pytest.importorskip("optuna")
    points = asked(SEARCHERS["tpe"](SPACE, 3), 40)
    late = [float(point["DROPOUT"]) for point in points[20:]]
    assert sum(late) / len(late) < 0.2


def test_a_grid_has_an_end_and_no_point_twice() -> None:
    grid = SEARCHERS["grid"]({"A": Range(1, 3, whole=True), "B": Choice(("x", "y"))}, 1)
    found = []
    while (point := grid.ask()) is not None:
        found.append((point["A"], point["B"]))
    assert sorted(found) == [(a, b) for a in (1, 2, 3) for b in "xy"]


@settings(max_examples=100)
@given(
    low=st.floats(1e-6, 1e6), factor=st.floats(1.001, 1e6), share=st.floats(0, 1),
    log=st.booleans(),
)  # fmt: skip
def test_a_share_of_a_range_lies_within_it(
    low: float, factor: float, share: float, log: bool
) -> None:
    part = Range(low, low * factor, log)
    assert part.low <= part.at(share) <= part.high  # type: ignore[operator]


def test_integers_are_drawn_evenly() -> None:
    part = Range(1, 4, whole=True)
    drawn = [part.at((n + 0.5) / 400) for n in range(400)]
    assert [drawn.count(value) for value in (1, 2, 3, 4)] == [100] * 4
    assert [Range(1, 4, whole=True).at(share) for share in (0.0, 1.0)] == [1, 4]
