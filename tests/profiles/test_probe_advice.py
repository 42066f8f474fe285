from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.job import Job, ProfileLimits, Work
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Evidence, Target
from mlbroker.profiles.probe_advice import Offered, advise

JOB = Job("j", "train", work=Work(10_000))
VCPUS = (2, 4, 8, 16)


def box(vcpus: int) -> Hardware:
    return Hardware(float(vcpus), 4.0 * vcpus, "x86_64")


def offer(vcpus: int, usd: float) -> Offered:
    return Offered(Target("aws", f"m.{vcpus}", box(vcpus)), usd, 60.0)


OFFERS = [offer(v, 0.05 * v) for v in VCPUS]


def seen(vcpus: int, time_s: float, status: Status = Status.OK) -> Measurement:
    name = f"m.{vcpus}"
    return Measurement(
        "j", name, time_s, instance_type=name, steps=1, hardware=box(vcpus), status=status
    )


def test_the_first_advice_is_a_probe_with_a_price() -> None:
    advice = advise(Evidence(JOB), OFFERS, 10_000)
    assert advice.probe
    assert advice.place is not None
    assert advice.saves_usd > advice.costs_usd > 0
    assert advice.hopeless_step_s is None


def test_a_probe_costs_no_more_than_its_longest_time() -> None:
    """However long the job may be, of which nothing is known yet."""
    longest_s = 120.0
    job = replace(JOB, work=Work(10_000_000), profile=ProfileLimits(max_time_s=longest_s))
    for own in ([], [seen(2, 4.0)]):
        advice = advise(Evidence(job, own), OFFERS, 10_000_000)
        assert advice.probe
        assert advice.place is not None
        price_per_s = OFFERS[advice.place].price_per_hour_usd / 3600
        assert advice.costs_usd == pytest.approx(price_per_s * (60.0 + longest_s))


def test_once_all_are_known_the_cheapest_is_taken() -> None:
    own = [seen(2, 4.0), seen(4, 1.0), seen(8, 0.9), seen(16, 0.8)]
    advice = advise(Evidence(JOB, own), OFFERS, 10_000)
    assert (advice.place, advice.probe) == (1, False)


def test_of_equal_machines_the_cheaper_offer_counts() -> None:
    own = [seen(v, 4.0 / v) for v in VCPUS]
    spot = offer(4, 0.01)
    advice = advise(Evidence(JOB, own), [*OFFERS, spot], 10_000)
    assert advice.place == len(OFFERS)


def test_what_cannot_be_had_is_not_advised() -> None:
    for lost in range(len(OFFERS)):
        assert advise(Evidence(JOB), OFFERS, 10_000, without={lost}).place != lost
    assert advise(Evidence(JOB), OFFERS, 10_000, without=range(len(OFFERS))).place is None


def test_a_machine_measured_but_not_on_offer_is_not_advised() -> None:
    own = [seen(2, 4.0), seen(64, 0.01)]
    advice = advise(Evidence(JOB, own), OFFERS, 10_000)
    assert advice.place in range(len(OFFERS))


def test_where_it_failed_it_is_not_tried_again() -> None:
    own = [seen(2, 1.0, Status.FAILED), seen(4, 1.0, Status.FAILED)]
    assert advise(Evidence(JOB, own), OFFERS, 10_000).place in {2, 3}


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([*VCPUS, 64]), st.floats(1e-3, 1e3), st.sampled_from(Status)),
        max_size=5,
    ),
    st.sampled_from([1, 10_000, 10**7]),
    st.none() | st.floats(100, 1e6),
    st.floats(1e-4, 100),
)
def test_no_probe_saves_more_than_the_choice_costs(
    rows: list[tuple[int, float, Status]],
    steps: int,
    deadline_s: float | None,
    choice_usd: float,
) -> None:
    evidence = Evidence(replace(JOB, work=Work(steps)), [seen(*row) for row in rows])
    advice = advise(evidence, OFFERS, steps, deadline_s, choice_usd=choice_usd)
    assert advice.saves_usd <= choice_usd
    assert not advice.probe or advice.saves_usd > advice.costs_usd


def test_a_step_is_hopeless_where_the_run_would_cost_twice_the_best() -> None:
    own = [seen(2, 2.0)]
    advice = advise(Evidence(JOB, own), OFFERS, 10_000)
    if not advice.probe:
        pytest.fail("with one machine known of four, another is worth a probe")
    assert advice.place is not None
    assert advice.hopeless_step_s is not None
    price = OFFERS[advice.place].price_per_hour_usd
    run_usd = price * (60 + 10_000 * advice.hopeless_step_s) / 3600
    known_usd = 0.1 * (60 + 10_000 * 2.0) / 3600
    assert run_usd <= 2.1 * known_usd
