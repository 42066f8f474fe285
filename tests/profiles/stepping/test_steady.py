"""The estimate from a tenth of the work, against jobs whose every step time is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.synthetic_jobs import KINDS, SyntheticJob, draw, limit

from mlbroker.profiles.stepping.steady import MIN_STEPS, estimate
from mlbroker.profiles.stepping.stopping import StopRule
from mlbroker.profiles.stepping.stream import StepSeries

RUNS = 12


def tenth(job: SyntheticJob) -> StepSeries:
    return job.seen(max(MIN_STEPS, len(job.durations) // 10))


def holds(job: SyntheticJob) -> bool:
    """Whether the interval told from a tenth of the work has the truth in it."""
    found = estimate(tenth(job))
    assert found is not None
    assert found.total_s is not None
    return found.total_s.p10 <= job.total_s <= found.total_s.p90


@pytest.mark.parametrize("kind", KINDS)
def test_a_tenth_of_the_work_predicts_the_whole(kind: str) -> None:
    errors = []
    for seed in range(RUNS):
        job = draw(kind, seed)
        found = estimate(tenth(job))
        assert found is not None
        assert found.total_s is not None
        errors.append(abs(found.total_s.p50 / job.total_s - 1))
    assert np.median(errors) <= 0.6 * limit(kind)
    assert np.mean(np.array(errors) <= limit(kind)) >= 0.8


@pytest.mark.parametrize("size", [(1000, 10_000), (300, 1000)])
def test_the_interval_holds_as_often_as_it_says(size: tuple[int, int]) -> None:
    held = [holds(draw(kind, seed, *size)) for kind in KINDS for seed in range(RUNS)]
    assert 0.7 <= np.mean(held) <= 0.93  # 144 runs of all kinds; `make bench-profile` has more


FAMILIES = (
    "steady", "heavy tail", "two phases", "long warm-up", "alike runs", "drift",
    "periodic evaluation",
)  # fmt: skip


@pytest.mark.parametrize("kind", FAMILIES)
def test_in_each_family_the_interval_holds(kind: str) -> None:
    held = [holds(draw(kind, seed, 300, 3000)) for seed in range(40)]
    # Noise hides a drift from a window of thirty steps.
    assert np.mean(held) >= (0.6 if kind == "drift" else 0.7)


def bucketed(seed: int) -> SyntheticJob:
    """Runs of five steps alike, of which some are far longer."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.exp(rng.normal(0, 0.8, 124)), 5)
    return SyntheticJob("buckets", 1.0, rows * np.exp(rng.normal(0, 0.02, 620)))


def test_the_last_fast_run_does_not_pass_for_the_steady_state() -> None:
    ratios, held = [], []
    for seed in range(40):
        job = bucketed(seed)
        found = estimate(job.seen(62))
        assert found is not None
        assert found.total_s is not None
        ratios.append(found.step_time_s / float(job.durations[:62].mean()))
        held.append(holds(job))
    assert np.quantile(ratios, 0.1) > 0.72
    assert np.mean(held) >= 0.78


def test_steps_that_come_in_runs_widen_the_interval_and_delay_the_stop() -> None:
    wider = []
    for seed in range(20):
        job = bucketed(seed)
        mixed = np.random.default_rng(seed).permutation(job.durations[:300])
        runs, single = estimate(job.seen(300)), estimate(SyntheticJob("m", 1.0, mixed).seen(300))
        assert runs is not None
        assert single is not None
        wider.append(runs.half_width / single.half_width)
    assert np.median(wider) > 1.5


@pytest.mark.parametrize("kind", ["drift", "endless warm-up"])
def test_what_a_short_window_can_hardly_see_is_in_the_interval_all_the_same(kind: str) -> None:
    held = [holds(draw(kind, seed, 300, 1000)) for seed in range(60)]
    assert np.mean(held) >= 0.7


def test_an_even_job_is_read_off_exactly() -> None:
    series = StepSeries("steps", [5 + 0.5 * i for i in range(101)], list(range(101)), 1000)
    found = estimate(series)
    assert found is not None
    assert found.total_s is not None
    assert found.step_time_s == pytest.approx(0.5)
    assert found.overhead_s == pytest.approx(5)
    assert found.start_up_s == pytest.approx(5)
    assert found.total_s.p50 == pytest.approx(505)
    assert found.half_width < 0.01
    assert found.periods == ()


def test_a_warm_up_is_found_and_counts_once() -> None:
    durations = np.full(200, 0.1)
    durations[:20] = 1.0
    durations *= np.exp(np.random.default_rng(1).normal(0, 0.02, 200))
    found = estimate(
        SyntheticJob("w", 3.0, np.concatenate([durations, np.full(1800, 0.1)])).seen(200)
    )
    assert found is not None
    assert 18 <= found.warmup_steps <= 26
    assert found.step_time_s == pytest.approx(0.1, rel=0.02)
    assert found.overhead_s == pytest.approx(3 + 20 * 0.9, rel=0.05)


def test_events_of_many_steps_each_tell_the_same() -> None:
    rng = np.random.default_rng(2)
    job = SyntheticJob("fast", 1.0, 0.0005 * np.exp(rng.normal(0, 0.2, 100_000)))
    fine = job.seen(10_000)
    coarse = StepSeries("steps", fine.times_s[::25], fine.counts[::25], fine.total)
    one, other = estimate(fine), estimate(coarse)
    assert one is not None
    assert other is not None
    assert one.step_time_s == pytest.approx(other.step_time_s, rel=0.005)


def test_without_a_total_there_is_a_pace_and_no_duration() -> None:
    job = draw("steady", 1)
    seen = job.seen(200)
    found = estimate(StepSeries(seen.source, seen.times_s, seen.counts, None))
    assert found is not None
    assert found.total_s is None
    assert found.step_time_s == pytest.approx(float(job.durations[:200].mean()), rel=0.02)


def test_a_finished_job_has_only_its_own_duration() -> None:
    job = draw("steady", 2)
    found = estimate(job.seen(len(job.durations)))
    assert found is not None
    assert found.total_s is not None
    assert found.total_s.p50 == pytest.approx(job.total_s, rel=1e-6)


def test_too_little_is_no_estimate() -> None:
    assert estimate(StepSeries("steps", [1, 2, 3], [0, 1, 2], 10)) is None


@settings(max_examples=150)
@given(
    st.lists(st.floats(1e-6, 1e4), min_size=4, max_size=150)
    | st.lists(st.floats(0.001, 1), min_size=4, max_size=40).map(lambda d: sorted(d, reverse=True)),
    st.integers(0, 2000),
    st.booleans(),
)
def test_whatever_the_times_are_the_estimate_is_a_number(
    durations: list[float], more: int, known: bool
) -> None:
    times = [0.1, *(0.1 + float(t) for t in np.cumsum(durations))]
    counts = list(range(len(times)))
    if len(set(times)) < len(times):
        return
    found = estimate(StepSeries("steps", times, counts, len(durations) + more if known else None))
    assert found is not None
    assert found.step_time_s > 0
    assert found.overhead_s >= 0
    assert np.isfinite([found.half_width, found.sigma_log, found.step_time_s]).all()
    if found.total_s is not None:
        assert 0 < found.total_s.p10 <= found.total_s.p50 <= found.total_s.p90


def test_measuring_stops_at_its_share_or_when_it_is_sure_and_patient() -> None:
    job = draw("steady", 3, least=5000, most=5001)
    rule = StopRule()
    early = job.seen(100)
    assert rule.reached(early, estimate(early)) is None
    assert rule.reached(job.seen(500), None) == "500 steps were seen"
    assert StopRule(max_steps=50).reached(early, None) == "100 steps were seen"
    sure = StopRule(patience_s=early.times_s[-1] - early.times_s[0])
    assert "mean is known" in str(sure.reached(early, estimate(early)))


def test_measuring_waits_for_an_epochs_end_that_is_near() -> None:
    job = SyntheticJob("e", 1.0, np.full(200, 0.1))
    assert StopRule().used_up(job.seen(30))
    assert not StopRule(epoch_steps=34).used_up(job.seen(34))
    assert StopRule(epoch_steps=34).used_up(job.seen(35))
    assert StopRule(epoch_steps=100).used_up(job.seen(30))  # too far
    assert StopRule(epoch_steps=10).used_up(job.seen(30))


def relative_width(slope: float, seed: int) -> float:
    """Of the interval, for a job that slows down by this share from its first to its last step."""
    noise = np.exp(np.random.default_rng(seed).normal(0, 0.02, 4000))
    durations = 0.1 * (1 + slope * np.arange(4000) / 4000) * noise
    found = estimate(SyntheticJob("d", 1.0, durations).seen(400))
    assert found is not None
    assert found.total_s is not None
    if slope > 0.2:  # a clear one is extrapolated
        assert found.total_s.p50 == pytest.approx(1 + durations.sum(), rel=0.04)
        assert found.drift > 0.5
    return (found.total_s.p90 - found.total_s.p10) / found.total_s.p50


def test_a_drift_that_is_seen_widens_the_interval() -> None:
    seeds = range(9)
    assert np.median([relative_width(0.0, seed) for seed in seeds]) < 0.01
    assert np.median([relative_width(0.3, seed) for seed in seeds]) > 0.05


@pytest.mark.parametrize("kind", ["steady", "drift"])
def test_the_interval_suits_jobs_that_drift_and_jobs_that_do_not(kind: str) -> None:
    held = [holds(draw(kind, seed)) for seed in range(300, 330)]
    assert np.mean(held) >= 0.65  # 30 runs
