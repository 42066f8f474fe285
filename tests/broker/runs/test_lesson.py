"""What a run teaches: rows of the store that follow from ledger and order alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.support.mlbroker import Cli

from mlbroker.broker.evidence import facts
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.broker.ledger import Attempt, Run, State
from mlbroker.broker.runs.calibration import coverage, past_runs
from mlbroker.broker.runs.lesson import measurements, remember
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.offer import Hardware
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.batch import Batch
from mlbroker.profiles.estimators import predict
from mlbroker.profiles.job import Job, Work
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Basis, Evidence, Target

JOB = Job("j", "python train.py")
AT = datetime(2026, 11, 28, 9, tzinfo=UTC)
MACHINE = {"vcpus": 4, "memory_gib": 16.0, "arch": "x86_64", "cpu": "Ice Lake", "gpus": []}
POINTS = [[step, 5.0 + 0.5 * step] for step in range(1, 51)]
WHOLE = {"command_s": 31.0, "setup_s": 9.0, "peak_memory_gib": 2.0, "cpu": 1.5, "gpu": 0.8}


def attempt(why: str, figures: dict[str, Any] | None, **more: Any) -> Attempt:
    values: dict[str, Any] = {
        "number": 1, "token": "t", "cloud": "aws", "region": "us-east-1", "zone": None,
        "instance_type": "g5.xlarge", "market": "spot", "nodes": 2, "account": "1",
        "price_per_hour_usd": Decimal("0.5"), "intended_at": AT,
        "kill_at": AT + timedelta(hours=1), "worst_usd": Decimal(1), "why": why, "figures": figures,
    }  # fmt: skip
    return Attempt(**(values | more))


def run_of(*attempts: Attempt) -> Run:
    return Run(
        "r1", "j", "u", None, State.TERMINATED, Decimal(1), Decimal(1), AT,
        {"fingerprint": JOB.fingerprint()}, attempts,
    )  # fmt: skip


def order_of(steps: int | None = None, place: Attempt | None = None) -> Order:
    bill = Bill(Decimal("0.5"), 2, vendor("aws").meter)
    at = place or attempt("", None)
    option = LaunchOption(at.cloud, at.region, at.instance_type, at.market, bill)
    return Order("r1", "j", (option,), {}, steps=steps, identity=facts.of(JOB))


def taught(why: str, figures: dict[str, Any], steps: int | None = None, **more: Any) -> Measurement:
    told = attempt(why, figures, **more)
    [row] = measurements(run_of(told), order_of(steps, told))
    return row


def test_a_finished_run_is_its_whole_time() -> None:
    row = taught("finished", WHOLE, exit_code=0)
    assert (row.status, row.time_s, row.steps) == (Status.OK, 31.0, None)
    assert (row.config, row.cloud, row.region, row.nodes) == ("g5.xlarge", "aws", "us-east-1", 2)
    assert row.price_per_hour_usd == Decimal("1.0")
    assert (row.peak_memory_gib, row.gpu_used) == (2.0, True)
    assert row.extra["setup_s"] == "9"
    assert row.extra["run"] == "r1"
    assert row.fingerprint == JOB.fingerprint()


def test_steps_of_a_finished_run_add_up_to_its_whole_time() -> None:
    row = taught("finished", WHOLE | {"points": POINTS, "steps": 50}, exit_code=0)
    assert row.steps == 50
    assert row.time_s == pytest.approx(0.5, rel=0.05)
    assert 50 * row.time_s + row.overhead_s == pytest.approx(31.0, rel=0.01)


@pytest.mark.parametrize("why", ["capped", "stopped", "preempted", "lost", "failed"])
def test_a_run_that_did_not_finish_teaches_its_steps_or_a_bound_and_no_whole_time(why: str) -> None:
    code = 3 if why == "failed" else None
    stepped = taught(why, WHOLE | {"points": POINTS}, steps=200, exit_code=code)
    assert (stepped.status, stepped.steps) == (Status.OK, 200)
    assert stepped.time_s == pytest.approx(0.5, rel=0.05)
    assert stepped.extra["ended"] == why
    for row in (
        taught(why, WHOLE, steps=200, exit_code=code),
        taught(why, WHOLE | {"points": POINTS}, exit_code=code),  # of nobody knows how many
    ):
        assert (row.status, row.time_s, row.steps) == (Status.STOPPED, 31.0, None)
        evidence = Evidence(JOB, [row])
        target = Target("aws", "g5.xlarge", Hardware(4, 16.0, "x86_64"), 2)
        [found] = predict(evidence, [target])
        assert found is None or found.basis is Basis.DATASHEET


@pytest.mark.parametrize("stated", [10_000, 4])
def test_steps_stated_in_another_unit_than_counted_teach_the_whole_time(stated: int) -> None:
    counted = WHOLE | {"points": POINTS, "steps": 50}
    whole = taught("finished", counted, steps=stated, exit_code=0)
    assert (whole.status, whole.time_s, whole.steps) == (Status.OK, 31.0, None)
    assert taught("capped", counted, steps=stated).status is Status.STOPPED


def test_steps_at_another_batch_are_told_as_such_and_counted_as_its_own() -> None:
    told = attempt("killed", WHOLE | {"points": POINTS}, batch_size=512)
    order = replace(order_of(200, told), batch=Batch(128, 1024))
    [row] = measurements(run_of(told), order)
    # As many samples as 200 steps at 128 have.
    assert (row.batch_size, row.steps, row.time_s) == (512, 50, pytest.approx(0.5))
    [own] = measurements(run_of(told), order_of(200, told))
    assert own.steps == 200


def test_a_job_that_was_killed_failed_and_one_that_resumed_is_not_whole() -> None:
    assert taught("failed", WHOLE, exit_code=137).status is Status.FAILED
    assert taught("finished", WHOLE | {"resumed": True}, exit_code=0).status is Status.STOPPED


def test_a_longer_run_raises_what_was_measured() -> None:
    job = replace(JOB, work=Work(200))
    short = Measurement("j", "g5.xlarge", 0.1, cloud="aws", steps=200, nodes=2)
    target = Target("aws", "g5.xlarge", Hardware(4, 16.0, "x86_64"), 2)
    [found] = predict(Evidence(job, [short, taught("stopped", WHOLE)]), [target])
    assert found is not None
    assert found.median_step_time_s == pytest.approx(31.0 / 200)
    assert found.step_time_s.p90 > 1.5 * found.median_step_time_s


def test_here_the_row_is_one_with_those_of_the_profiler() -> None:
    figures = WHOLE | {"machine": MACHINE}
    here = {"cloud": "local", "region": "on-prem", "instance_type": "local", "nodes": 1}
    row = taught("finished", figures, exit_code=0, **here)
    assert (row.config, row.instance_type, row.region) == ("local-4cpu", None, None)
    assert row.hardware == Hardware(4, 16.0, "x86_64", cpu="Ice Lake")


def test_each_attempt_counts_and_whoever_settles_again_adds_nothing(tmp_path: Path) -> None:
    taken = attempt("preempted", WHOLE | {"points": POINTS})
    run = run_of(taken, attempt("finished", WHOLE, number=2, exit_code=0), attempt("lost", None))
    warned: list[str] = []
    for _ in range(2):
        remember(run, order_of(200), tmp_path, warned.append)
    assert [row.extra["ended"] for row in MeasurementStore(tmp_path).all()] == [
        "preempted",
        "finished",
    ]
    assert warned == []


def test_a_store_that_cannot_be_written_is_told_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "measurements.db").write_bytes(b"no database" * 100)
    warned: list[str] = []
    remember(run_of(attempt("finished", WHOLE)), order_of(), tmp_path, warned.append)
    assert len(warned) == 1
    assert "was not kept" in warned[0]


def test_predictions_are_held_against_what_came() -> None:
    known = {"p10_s": 20.0, "p50_s": 25.0, "p90_s": 40.0, "evidence": "measured once"}
    runs = [
        run_of(attempt("finished", WHOLE, predicted=known)),
        run_of(attempt("finished", WHOLE | {"command_s": 41.0}, predicted=known)),
        run_of(attempt("finished", WHOLE)),
        run_of(attempt("capped", WHOLE, predicted=known)),
        run_of(attempt("finished", WHOLE | {"resumed": True}, predicted=known)),
    ]
    found = past_runs(runs, "j")
    assert [run.inside for run in found] == [True, False, None]
    assert coverage(found) == 0.5
    assert past_runs(runs, "other") == []


def test_a_run_is_a_measurement_that_plans_and_later_runs_know(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    job = cli.job("for i in $(seq 1 12); do echo ::mlbroker step=$i/12; sleep 0.1; done")
    for _ in range(2):
        answer = cli.run_local(job)
        assert answer.returncode == 0, answer.stderr
    rows = MeasurementStore(cli.home).all()
    assert [(row.steps, row.status) for row in rows] == [(12, Status.OK)] * 2
    assert rows[0].time_s == pytest.approx(0.1, rel=1.0)
    assert rows[0].hardware is not None
    shown = cli("profile", "show", str(cli.folder / "job.yaml"))
    assert "nothing known" in shown.stdout
    assert "of 1 run took as long as predicted" in shown.stdout
