"""What is believed of spot machines: few own ones move it little, and many win."""

import math
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.policies.interruptions import MACHINE_LIFE_H, interruptions_per_s
from mlbroker.policies.spot.beliefs import (
    Belief,
    Observation,
    Place,
    Tally,
    What,
    band_factor,
    believe,
)
from mlbroker.policies.spot.hazards import (
    AGES_H,
    PREEMPTIONS_PER_H,
    RECOVERIES_PER_H,
    expected_events,
    expected_life_h,
)

AT = datetime(2026, 11, 1, tzinfo=UTC)
HERE = Place("aws", "us-east-1", "us-east-1a", "g5.xlarge")
BESIDE = HERE._replace(zone="us-east-1b")
REGION = HERE._replace(zone=None)
ELSEWHERE = Place("aws", "us-west-2", "us-west-2a", "g5.xlarge")
OTHER_TYPE = HERE._replace(instance_type="m5.large")
OTHER_CLOUD = HERE._replace(cloud="azure")
A_HAIR = 1 + 1e-9


def machine(lived_h: float, taken: bool, place: Place = HERE, machines: int = 1) -> Observation:
    return Observation(place, What.MACHINE, 0.0, lived_h, taken, AT, machines)


def outage(lasted_h: float, ended: bool, place: Place = HERE) -> Observation:
    return Observation(place, What.OUTAGE, 0.0, lasted_h, ended, AT)


def factor(*seen: Observation, band: float | None = None, place: Place = HERE) -> float:
    return believe(seen, place, band).preempted.factor


PLACES = st.sampled_from([HERE, BESIDE, REGION, ELSEWHERE, OTHER_TYPE, OTHER_CLOUD])
ASKED = st.sampled_from([HERE, REGION, ELSEWHERE])
LIVES = st.builds(machine, st.floats(0, 500), st.booleans(), PLACES, st.integers(1, 8))
OUTAGES = st.builds(outage, st.floats(0, 500), st.booleans(), PLACES)
PASTS = st.lists(st.one_of(LIVES, OUTAGES), max_size=30)
BANDS = st.one_of(st.none(), st.floats(0, 1))


@given(BANDS, ASKED, st.booleans())
def test_without_a_past_what_is_published_is_believed(
    band: float | None, place: Place, gpu: bool
) -> None:
    belief = believe((), place, band, gpu)
    assert belief.preempted.factor == pytest.approx(band_factor(band, gpu), rel=1e-12)
    assert belief.recovered.factor == 1
    assert belief.machines.here == belief.outages.type == Tally()


@given(PASTS, BANDS, ASKED, PLACES, st.floats(1 / 60, 50))
def test_a_machine_taken_is_no_sign_of_safety(
    past: list[Observation], band: float | None, place: Place, at: Place, lived_h: float
) -> None:
    """Beside one as old that was not taken, whatever else is known."""
    spared = believe([*past, machine(lived_h, False, at)], place, band)
    taken = believe([*past, machine(lived_h, True, at)], place, band)
    assert taken.preempted.factor * A_HAIR >= spared.preempted.factor


@given(PASTS, BANDS, ASKED, PLACES, st.floats(0, 50), st.floats(0, 50))
def test_hours_without_an_event_raise_nothing(
    past: list[Observation],
    band: float | None,
    place: Place,
    at: Place,
    lived_h: float,
    lasted_h: float,
) -> None:
    before = believe(past, place, band)
    after = believe([*past, machine(lived_h, False, at), outage(lasted_h, False, at)], place, band)
    assert after.preempted.factor <= before.preempted.factor * A_HAIR
    assert after.recovered.factor <= before.recovered.factor * A_HAIR


@given(PASTS, BANDS, ASKED, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(
    past: list[Observation], band: float | None, place: Place, chance: random.Random
) -> None:
    shuffled = list(past)
    chance.shuffle(shuffled)
    assert believe(past, place, band) == believe(shuffled, place, band)


@given(PASTS, BANDS, ASKED)
def test_a_belief_is_one_that_policies_can_use(
    past: list[Observation], band: float | None, place: Place
) -> None:
    belief = believe(past, place, band)
    for record in (belief.preempted, belief.recovered):
        assert 0 < record.factor < math.inf
    assert 0 < belief.life_h < math.inf
    assert 0 < belief.outage_h < math.inf
    assert 0 <= belief.taken_within(1) <= belief.taken_within(8) <= 1


@given(PASTS, BANDS)
def test_other_types_and_clouds_say_nothing(past: list[Observation], band: float | None) -> None:
    own = [each for each in past if each.place not in (OTHER_TYPE, OTHER_CLOUD)]
    assert believe(past, HERE, band) == believe(own, HERE, band)


def simulated(chance: random.Random, planted: float, count: int, at_most_h: float) -> list[float]:
    """Ages at which machines of so many times the usual rates are taken, or ended at most."""
    return [_age_at(chance.expovariate(1.0) / planted, at_most_h) for _ in range(count)]


def _age_at(events: float, at_most_h: float) -> float:
    """At which age so many events were to be expected of the usual rates."""
    for number, rate in enumerate(PREEMPTIONS_PER_H):
        edge = math.inf if number + 1 == len(AGES_H) else AGES_H[number + 1]
        if events <= rate * (edge - AGES_H[number]):
            return min(at_most_h, float(AGES_H[number] + events / rate))
        events -= rate * (edge - AGES_H[number])
    raise AssertionError("the last class of age has no end")


@pytest.mark.parametrize("planted", [0.02, 0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("at_most_h", [1.0, 24.0, 400.0])
@pytest.mark.parametrize("band", [None, 0.025, 0.25])
@pytest.mark.parametrize("place", [HERE, REGION, BESIDE])
def test_many_machines_win_whatever_is_published(
    planted: float, at_most_h: float, band: float | None, place: Place
) -> None:
    """And whether they were taken young, or ended by their run long before."""
    chance = random.Random(f"{planted} {at_most_h}")
    lives = simulated(chance, planted, 20_000, at_most_h)
    seen = [machine(lived_h, lived_h < at_most_h) for lived_h in lives]
    taken = sum(each.ended for each in seen)
    assert abs(math.log(factor(*seen, band=band, place=place) / planted)) < 4 / math.sqrt(taken)


def test_a_few_events_do_not_swing_it_and_some_dozens_do() -> None:
    """Each taken within the hour, where less than one in a hundred should have been."""
    published = factor(band=0.025)
    lost = [machine(1.0, True)] * 60
    assert published < factor(*lost[:1], band=0.025) < 3 * published
    assert published < factor(*lost[:3], band=0.025) < 10 * published
    likely = 1 / expected_events(PREEMPTIONS_PER_H, 0, 1)
    assert likely / 2 < factor(*lost[:20], band=0.025) < likely
    assert 0.9 * likely < factor(*lost, band=0.025) < likely


def test_a_zone_is_drawn_to_its_region_and_that_to_the_type() -> None:
    lost = [machine(1.0, True, ELSEWHERE)] * 10
    there = factor(*lost, place=ELSEWHERE, band=0.1)
    region = factor(*lost, place=ELSEWHERE._replace(zone=None), band=0.1)
    other_zone = factor(*lost, place=ELSEWHERE._replace(zone="us-west-2b"), band=0.1)
    other_region = factor(*lost, place=HERE, band=0.1)
    assert other_zone == pytest.approx(region)
    assert there > region > other_region > factor(band=0.1)


def test_age_counts() -> None:
    """A machine that lived long was spared at the ages when most are taken, but not as often as
    its hours over again of new ones."""
    one_old = factor(machine(24, False))
    many_new = factor(*[machine(1, False)] * 24)
    assert many_new < one_old < 1
    assert factor(machine(24, False, machines=3)) == factor(*[machine(24, False)] * 3)


@pytest.mark.parametrize("rate", [0.025, 0.075, 0.125, 0.175, 0.25, 0.9])
def test_a_published_share_is_read_as_a_plan_reads_it(rate: float) -> None:
    in_a_day = believe((), HERE, rate).taken_within(MACHINE_LIFE_H)
    assert in_a_day == pytest.approx(rate)
    plans = -math.expm1(-interruptions_per_s(rate, True) * 3600 * MACHINE_LIFE_H)
    assert in_a_day == pytest.approx(plans)


def test_a_published_share_is_bounded_and_none_is_no_share() -> None:
    assert 0 < band_factor(0.0) < band_factor(0.025) < band_factor(1.0) < band_factor(None)
    assert band_factor(None) == 1
    assert band_factor(None, has_gpu=False) == 0.25
    assert isinstance(believe((), HERE, None), Belief)


def test_outages_that_end_soon_are_expected_to_end_soon() -> None:
    usual = believe((), HERE, None)
    short = believe([outage(0.1, True)] * 40, HERE, None)
    long = believe([outage(12, True)] * 40, HERE, None)
    assert short.outage_h < usual.outage_h / 2 < 2 * usual.outage_h < 4 * long.outage_h
    assert long.outage_h > 1.5 * usual.outage_h
    assert short.preempted == usual.preempted


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_expected_events_add_up(a: float, b: float, c: float) -> None:
    low, middle, high = sorted((a, b, c))
    for rates in (PREEMPTIONS_PER_H, RECOVERIES_PER_H):
        parts = expected_events(rates, low, middle) + expected_events(rates, middle, high)
        assert parts == pytest.approx(expected_events(rates, low, high), abs=1e-9)


def test_expected_events_are_what_a_life_is_reckoned_with() -> None:
    """The mean life is the integral of the chance to be there still."""
    step = 0.01
    times = [step * (number + 0.5) for number in range(40_000)]
    alive = sum(math.exp(-expected_events(PREEMPTIONS_PER_H, 0, t)) for t in times) * step
    assert alive == pytest.approx(expected_life_h(0, 1.0), rel=1e-3)
