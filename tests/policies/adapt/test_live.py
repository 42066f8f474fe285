"""When a running training goes on differently."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.policies.adapt.interface import MOVE_SHARE, WORK_BETWEEN_MOVES
from mlbroker.policies.adapt.live import (
    STAY,
    Course,
    Verdict,
    Work,
    decide,
    hours_left,
)
from mlbroker.profiles.batch import share_done, steps_of

WORK = Work(1000, 128, 0.3, 0.25)
ONE = Decimal(1)


def course(hours: float, usd_per_hour: int = 1, batch: int = 128, life_h: float = 100) -> Course:
    return Course(batch, hours, Decimal(usd_per_hour), life_h)


@pytest.mark.parametrize(
    ("staying", "ways", "deadline_h", "wanted"),
    [
        # Late, and another way is not: the cheapest such, also where it costs more than staying.
        (course(10), [course(7, 3), course(6, 2)], 8, Verdict(1, Decimal(-2), rescues=True)),
        # In time: what saves more than a tenth.
        (course(10), [course(8.9)], 20, Verdict(0, Decimal("1.1"))),
        (course(10), [course(9.1)], 20, STAY),
        # And more than three minutes of the new machines.
        (course(1), [course(0.05, 10)], None, STAY),
        (course(1), [course(0.05, 9)], None, Verdict(0, Decimal("0.55"))),
        # Cheaper, and late.
        (course(10, 4), [course(12)], 11, STAY),
        # All late: none that is later yet.
        (course(10, 4), [course(12), course(9)], 5, Verdict(1, Decimal(31))),
        # The cap would end it before it is done.
        (course(10, life_h=8), [course(9)], None, Verdict(0, ONE, rescues=True)),
        # What is left of the cap does not pay for it.
        (course(10), [course(5, life_h=4)], 8, Verdict(unpaid=0)),
        (course(10), [], 8, STAY),
    ],
)
def test_it_moves_where_that_is_worth_it(
    staying: Course, ways: list[Course], deadline_h: float | None, wanted: Verdict
) -> None:
    assert decide(staying, ways, WORK, 1024, deadline_h) == wanted


courses = st.builds(
    Course,
    st.integers(1, 4096),
    st.floats(0.01, 1000),
    st.decimals("0.01", 100, places=2),
    st.floats(0.01, 1000),
    st.decimals(0, 10, places=2),
)
works = st.builds(
    lambda done, since: Work(1000, 128, done, done, None if since is None else done * since),
    st.floats(0, 1),
    st.none() | st.floats(0, 1),
)


@given(
    courses, st.lists(courses, max_size=6), works, st.integers(1, 4096),
    st.none() | st.floats(0, 1000),
)  # fmt: skip
def test_no_batch_above_the_most_none_beyond_the_cap_and_none_soon_after_another(
    staying: Course, ways: list[Course], work: Work, most: int, deadline_h: float | None
) -> None:
    found = decide(staying, ways, work, most, deadline_h)
    if found.to is None:
        return
    way = ways[found.to]
    assert way.batch <= most
    assert way.hours <= way.life_h
    assert found.unpaid is None
    assert work.moved is None or work.done - work.moved >= WORK_BETWEEN_MOVES
    late = deadline_h is not None and staying.hours > deadline_h
    if found.rescues:
        assert late or staying.hours > staying.life_h
        assert deadline_h is None or way.hours <= deadline_h
    else:
        assert found.saves_usd > Decimal(str(MOVE_SHARE)) * staying.usd
        assert deadline_h is None or way.hours <= max(deadline_h, staying.hours)


def test_a_sample_of_a_larger_batch_counts_less() -> None:
    work = Work(3600, 100, 0, 0)
    assert hours_left(1, work, 100, 1.0, noise=300) == pytest.approx(1)
    # (300 + 100) / (300 + 200) = 0.8 of 200 samples a second.
    assert hours_left(0.5, work, 200, 1.0, noise=300) == pytest.approx(0.5 * 100 / 160)


def test_the_steps_of_the_work_follow_the_batch() -> None:
    assert steps_of(128, 1000, 128, None) == 1000
    assert steps_of(128, 1000, 512, None) == 250
    assert steps_of(128, 1000, 300, None) == 427
    assert steps_of(128, 1000, 512, 260) == 260, "who counts them knows better"
    assert steps_of(128, None, 512, None) is None


@pytest.mark.parametrize(
    ("step", "first", "whole", "before", "told", "share"),
    [
        (50, 1, 100, 0.0, False, 0.5),
        # It goes on counting where it was.
        (60, 41, 100, 0.4, False, 0.6),
        # It counts anew: of all, or, with a total of its own, of what was left.
        (20, 1, 100, 0.4, False, 0.6),
        (20, 1, 60, 0.4, True, 0.6),
        (99, 1, 100, 0.4, False, 1.0),
    ],
)
def test_a_count_that_begins_anew_is_told_from_one_that_goes_on(
    step: int, first: int, whole: int, before: float, told: bool, share: float
) -> None:
    assert share_done(step, first, whole, before, told=told) == pytest.approx(share)
