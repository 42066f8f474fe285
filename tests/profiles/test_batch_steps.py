"""Steps at other batches: as measured where that was, carried over with a doubt elsewhere."""

import math
from dataclasses import replace

import pytest

from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.profiles.batch import Batch
from mlbroker.profiles.batch_steps import BatchSteps, Line
from mlbroker.profiles.batches_seen import BatchesSeen
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Basis, Prediction, Target

BATCH = Batch(100, 800)
JOB = Job("j", "x", batch=BATCH)
HOST = Hardware(8, 32, "x86_64")
LARGE, SMALL = (Hardware(8, 32, "x86_64", gpu=Gpu("G", gib), gpu_count=1) for gib in (24, 8))
SIZES = (100, 200, 400, 800)


def row(size: int, step_s: float, name: str = "here", **facts: object) -> Measurement:
    base = Measurement(
        "j", name, step_s, instance_type=name, steps=10, batch_size=size, hardware=HOST
    )
    return replace(base, **facts)  # type: ignore[arg-type]


def steps(*rows: Measurement) -> BatchSteps:
    return BatchSteps(JOB, BatchesSeen(rows, None))


def own(step_s: float, basis: Basis = Basis.DATASHEET, sigma: float = 0.6) -> Prediction:
    return Prediction(step_s, sigma, basis, "somehow")


# A tenth of a second whatever the batch, and a millisecond a sample.
MEASURED = (row(100, 0.2), row(200, 0.3), row(400, 0.5))


def test_a_line_is_what_it_was_made_from() -> None:
    pooled = {size: own(0.1 + size / 1000) for size in (100, 200, 400)}
    line = Line.through(BATCH, 1, pooled)
    assert (line.fixed_s, line.sample_s) == (pytest.approx(0.1), pytest.approx(0.001))
    # What got faster with the batch has no time a sample, and none less than none.
    falling = Line.through(BATCH, 1, {100: own(0.2), 200: own(0.18)})
    assert falling.sample_s == 0
    assert 0.18 < falling.fixed_s < 0.2
    # Passes that grow as the batch does tell nothing apart.
    passes = Line.through(BATCH._replace(micro=100), 1, {100: own(0.2), 200: own(0.4)})
    assert passes.step_s(400, 4) == pytest.approx(0.8)


def test_where_batches_were_measured_they_are_used() -> None:
    found = steps(*MEASURED).at(
        SIZES, [Target("aws", "here", HOST)], [own(0.2, Basis.MEASURED, 0.05)]
    )[0]
    assert found[200].median_step_time_s == pytest.approx(0.3)
    assert found[200].basis is Basis.MEASURED
    assert found[200].evidence == "measured once on here at batch 200"
    assert 800 not in found  # what fits was seen up to 400, and no peak of memory


def test_elsewhere_the_shape_is_carried_over_and_the_width_grows() -> None:
    rows = [replace(r, peak_memory_gib=1 + r.batch_size / 400) for r in MEASURED]  # type: ignore[operator]
    found = steps(*rows).at(SIZES, [Target("aws", "there", HOST)], [own(0.4)])[0]
    assert sorted(found) == [100, 200, 400, 800]
    assert found[100] == own(0.4)
    assert found[400].median_step_time_s == pytest.approx(0.4 * 0.5 / 0.2)
    assert found[400].basis is Basis.DATASHEET
    assert found[400].evidence == "somehow; batch 400 as steps grow on here"
    widths = [found[size].sigma_log for size in SIZES]
    assert widths == sorted(widths)
    assert widths[0] < widths[1] < widths[3]
    # A machine that is much faster may be bound by its processor at the small batch, or not.
    fast = steps(*rows).at(SIZES, [Target("aws", "fast", HOST)], [own(0.02)])[0]
    assert fast[400].sigma_log > found[400].sigma_log
    low, high = (fast[400].median_step_time_s * math.exp(z * fast[400].sigma_log) for z in (-2, 2))
    assert low <= 0.02 <= high
    assert low <= 0.08 <= high


def test_a_machine_measured_at_one_other_batch_starts_from_there() -> None:
    found = steps(*MEASURED, row(400, 0.1, "there")).at(
        SIZES, [Target("aws", "there", HOST)], [own(3.0)]
    )[0]
    assert found[400].median_step_time_s == pytest.approx(0.1)
    assert found[200].median_step_time_s == pytest.approx(0.1 * 0.3 / 0.5)
    assert found[200].basis is Basis.PREDICTED
    assert found[100] == own(3.0)


def test_a_batch_needs_memory_that_is_known_to_do() -> None:
    on_gpu = {"hardware": LARGE, "gpu_used": True}
    peaks = [
        replace(r, **on_gpu, peak_gpu_memory_gib=gib)  # type: ignore[arg-type]
        for r, gib in zip(MEASURED, (2.0, 4.0, 8.0), strict=True)
    ]
    found = steps(*peaks)
    both = found.at(SIZES, [Target("aws", "a", LARGE), Target("aws", "b", SMALL)], [own(1), own(1)])
    assert [sorted(each) for each in both] == [[100, 200, 400, 800], [100, 200, 400]]
    # Nobody looked: what fitted there fits where there is no less, and no more than that does.
    unseen = steps(*(replace(each, peak_gpu_memory_gib=None) for each in peaks))
    both = unseen.at(
        SIZES, [Target("aws", "a", LARGE), Target("aws", "b", SMALL)], [own(1), own(1)]
    )
    assert [sorted(each) for each in both] == [[100, 200, 400], [100]]


def test_a_batch_that_broke_there_is_not_tried_again() -> None:
    broke = row(400, 3.0, "there", status=Status.FAILED, steps=None, reason="out of memory")
    found = steps(*MEASURED, broke).at(
        SIZES, [Target("aws", "there", HOST), Target("aws", "else", HOST)], [own(1), own(1)]
    )
    assert [sorted(each) for each in found] == [[100, 200], [100, 200, 400]]


def test_with_passes_the_memory_is_of_one() -> None:
    job = replace(JOB, batch=BATCH._replace(micro=100))
    rows = (row(100, 0.2), row(200, 0.4))
    found = BatchSteps(job, BatchesSeen(rows, None))
    steps_at = found.at(SIZES, [Target("aws", "there", SMALL)], [own(1)])[0]
    assert sorted(steps_at) == [100, 200, 400, 800]
    assert steps_at[800].median_step_time_s == pytest.approx(8)
