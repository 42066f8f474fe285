import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.profiles.estimators import predict
from mlbroker.profiles.estimators.datasheet import estimate as datasheet
from mlbroker.profiles.estimators.transfer import estimate, learn
from mlbroker.profiles.job import Job, Work
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target

JOB = Job("j", "train", work=Work(1000))
A10G = Gpu("A10G", 24, 31.2, 125, 600, 300)
VCPUS = (2, 4, 8, 16, 32)


def box(vcpus: int, cpu: str = "Ice Lake", gpu: Gpu | None = None) -> Hardware:
    return Hardware(
        float(vcpus), 4.0 * vcpus, "x86_64", cpu=cpu, gpu=gpu, gpu_count=1 if gpu else 0
    )


def row(job: str, vcpus: int, time_s: float, **more: object) -> Measurement:
    name = f"m5.x{vcpus}"
    known = Measurement(
        job, name, time_s, cloud="aws", instance_type=name, steps=1, hardware=box(vcpus)
    )
    return replace(known, **more)  # type: ignore[arg-type]


def target(vcpus: int) -> Target:
    return Target("aws", f"m5.x{vcpus}", box(vcpus))


def amdahl(vcpus: int, parallel: float) -> float:
    return (1 - parallel) + parallel / vcpus


# Eight past jobs of four families that all stop scaling at eight vCPUs.
PAST = [
    replace(row(f"past{i}", v, (1 + i) * amdahl(min(v, 8), 0.9)), group=f"g{i // 2}")
    for i in range(8)
    for v in VCPUS
]


def one(evidence: Evidence, vcpus: int) -> Prediction:
    found = estimate(evidence, [target(v) for v in VCPUS])[VCPUS.index(vcpus)]
    assert found is not None
    return found


def test_a_job_never_measured_is_left_to_the_data_sheet() -> None:
    assert estimate(Evidence(JOB, [], PAST), [target(4)]) == [None]


def test_one_measurement_and_no_past_is_left_to_the_data_sheet() -> None:
    assert estimate(Evidence(JOB, [row("j", 4, 1.0)]), [target(8)]) == [None]


def test_past_jobs_say_how_this_one_scales() -> None:
    evidence = Evidence(JOB, [row("j", 4, 2.0)], PAST)
    truth = 2.0 * amdahl(8, 0.9) / amdahl(4, 0.9)
    for vcpus in (8, 32):
        found = one(evidence, vcpus)
        assert found.basis is Basis.PREDICTED
        assert found.median_step_time_s == pytest.approx(truth, rel=0.15)
    assert "measured on m5.x4" in one(evidence, 8).evidence
    assert "8 past jobs" in one(evidence, 8).evidence


def test_a_second_machine_narrows_what_lies_between() -> None:
    single = Evidence(JOB, [row("j", 2, 1.0)], PAST)
    both = Evidence(JOB, [row("j", 2, 1.0), row("j", 32, amdahl(8, 0.9) / amdahl(2, 0.9))], PAST)
    assert one(both, 8).sigma_log < one(single, 8).sigma_log


@given(st.lists(st.sampled_from(VCPUS), min_size=2, max_size=2, unique=True), st.floats(0.8, 1.25))
def test_without_a_past_two_machines_tell_about_as_much_as_a_data_sheet_from_one(
    sizes: list[int], apart: float
) -> None:
    seen = [row("j", v, amdahl(v, 0.9)) for v in sizes]
    seen[0] = replace(seen[0], time_s=seen[0].time_s * apart)
    evidence = Evidence(JOB, seen)
    # Far beyond both, how many more cores are of use is open.
    targets = [target(v) for v in (2, 4, 8, 16, 32, 64) if v <= 2 * max(sizes)]
    for found, sheet in zip(estimate(evidence, targets), datasheet(evidence, targets), strict=True):
        assert found is not None
        assert sheet is not None
        assert found.sigma_log < 1.15 * sheet.sigma_log


def test_without_a_past_machines_with_a_gpu_are_doubted_more() -> None:
    seen = Evidence(JOB, [row("j", 4, amdahl(4, 0.9)), row("j", 16, amdahl(16, 0.9))])
    with_gpu = Target("aws", "g5.a", box(8, gpu=A10G))
    plain, doubted = estimate(seen, [target(8), with_gpu])
    assert plain is not None
    assert doubted is not None
    assert doubted.sigma_log > 1.5 * plain.sigma_log


def test_evidence_names_the_nearest_machine_and_what_they_share() -> None:
    with_gpu = Target("aws", "g5.a", box(4, gpu=A10G))
    seen = Measurement("j", "g5.b", 0.1, instance_type="g5.b", steps=1, hardware=box(8, gpu=A10G))
    (found,) = estimate(Evidence(JOB, [row("j", 4, 2.0), seen]), [with_gpu])
    assert found is not None
    like = "most like a job with use for a GPU (84%), 90% of it parallel"
    assert found.evidence == f"measured on g5.b, same GPU; 1 other machine; {like}"


def test_measured_goes_before_predicted_before_datasheet() -> None:
    evidence = Evidence(JOB, [row("j", 4, 2.0), row("j", 8, 1.2)])
    bases = [found.basis for found in predict(evidence, [target(4), target(16)]) if found]
    assert bases == [Basis.MEASURED, Basis.PREDICTED]


def test_one_wrong_measurement_makes_all_uncertain() -> None:
    right = [row("j", v, 8 * amdahl(v, 0.9)) for v in (2, 4, 8)]
    wrong = [*right[:2], replace(right[2], time_s=right[2].time_s * 100)]
    good = one(Evidence(JOB, right, PAST), 16)
    bad = one(Evidence(JOB, wrong, PAST), 16)
    truth = math.log(8 * amdahl(16, 0.9))
    assert bad.sigma_log > 2.5 * good.sigma_log
    assert abs(math.log(bad.median_step_time_s) - truth) < 3 * bad.sigma_log


def test_what_a_machine_reports_of_itself_is_the_type_it_was_bought_as() -> None:
    less = replace(row("j", 4, 2.0), hardware=box(4)._replace(memory_gib=15.3))
    exact = one(Evidence(JOB, [row("j", 4, 2.0)], PAST), 8)
    assert one(Evidence(JOB, [less], PAST), 8) == exact


def test_failures_alone_predict_nothing() -> None:
    failed = row("j", 4, 1.0, status=Status.FAILED)
    assert estimate(Evidence(JOB, [failed], PAST), [target(8)]) == [None]


def test_learning_from_the_past_narrows_predictions() -> None:
    fitted = learn(PAST)
    evidence = Evidence(JOB, [row("j", 4, 2.0)], PAST)
    assert one(evidence._replace(fitted=fitted), 8).sigma_log < one(evidence, 8).sigma_log
    assert learn(PAST) == fitted


times = st.floats(1e-4, 1e4)
rows = st.lists(
    st.builds(
        row,
        st.just("j"),
        st.sampled_from(VCPUS),
        times,
        status=st.sampled_from([Status.OK, Status.OK, Status.FAILED]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=50)
@given(rows, st.sampled_from([[], PAST]), st.floats(1.5, 100))
def test_contradictions_are_never_a_confident_number(
    own: list[Measurement], past: list[Measurement], apart: float
) -> None:
    """The same machine measured with times a factor apart: no interval is narrower than before."""
    ok = [item for item in own if item.status is Status.OK]
    if not ok:
        return
    twice = [*own, replace(ok[0], time_s=ok[0].time_s * apart)]
    for found in estimate(Evidence(JOB, twice, past), [target(64)]):
        if found is not None:
            assert 0.05 < found.sigma_log <= 3.0
            assert 1e-12 < found.median_step_time_s < 1e12
