"""Pooling of repeats, regions, and rows that timed the whole work."""

import pytest

from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.estimators.measured import estimate
from mlbroker.profiles.job import Job, Work
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Evidence, Prediction, Target

BOX = Hardware(4, 16, "x86_64")


def predicted(rows: list[Measurement], target: Target, job: Job | None = None) -> Prediction | None:
    return estimate(Evidence(job or Job("j", "true"), rows), [target])[0]


def row(time_s: float, **facts: object) -> Measurement:
    usual = {"cloud": "aws", "instance_type": "m5.large", "steps": 10} | facts
    return Measurement("j", "m5.large", time_s, **usual)  # type: ignore[arg-type]


def test_repeats_pool_and_narrow() -> None:
    target = Target("aws", "m5.large", BOX)
    once, thrice = predicted([row(2.0)], target), predicted([row(2.0), row(2.1), row(1.9)], target)
    assert once is not None
    assert thrice is not None
    assert thrice.median_step_time_s == pytest.approx(2.0, rel=0.01)
    assert thrice.sigma_log < once.sigma_log
    assert "3 times" in thrice.evidence


def test_contradicting_repeats_widen() -> None:
    target = Target("aws", "m5.large", BOX)
    calm = predicted([row(2.0), row(2.0)], target)
    wild = predicted([row(1.0), row(100.0)], target)
    assert calm is not None
    assert wild is not None
    assert wild.sigma_log > 10 * calm.sigma_log


def test_a_measured_region_keeps_its_own_time_and_others_take_the_types() -> None:
    rows = [row(2.0, region="a"), row(4.0, region="b")]
    at_a = predicted(rows, Target("aws", "m5.large", BOX, region="a"))
    at_c = predicted(rows, Target("aws", "m5.large", BOX, region="c"))
    assert at_a is not None
    assert at_c is not None
    assert at_a.median_step_time_s == pytest.approx(2.0)
    assert at_c.median_step_time_s == pytest.approx(8**0.5)


def test_whole_work_is_divided_by_its_steps() -> None:
    target = Target("aws", "m5.large", BOX)
    found = predicted([row(100.0, steps=None)], target, Job("j", "true", work=Work(50)))
    assert found is not None
    assert found.median_step_time_s == pytest.approx(2.0)


def test_failures_other_node_counts_and_other_types_do_not_count() -> None:
    rows = [row(2.0, status=Status.FAILED), row(2.0, nodes=4)]
    assert predicted(rows, Target("aws", "m5.large", BOX)) is None
    assert predicted([row(2.0)], Target("gcp", "m5.large", BOX)) is None


def test_equal_hardware_of_an_unnamed_machine_counts() -> None:
    here = Measurement("j", "this machine", 2.0, steps=10, hardware=BOX)
    assert predicted([here], Target("aws", "any", BOX)) is not None


@pytest.mark.parametrize(("stopped_s", "sigma"), [(4.0, 0.7), (1e9, 3.0)])
def test_a_run_that_took_longer_than_measured_widens_as_far_as_anything_is_claimed(
    stopped_s: float, sigma: float
) -> None:
    rows = [row(2.0), row(stopped_s, status=Status.STOPPED)]
    found = predicted(rows, Target("aws", "m5.large", BOX))
    assert found is not None
    assert found.median_step_time_s == pytest.approx(stopped_s)
    assert found.sigma_log == pytest.approx(sigma, abs=0.01)
