"""The store of measurements: durable, shared, and exact about what still applies."""

import multiprocessing
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.evidence import facts
from mlbroker.broker.evidence.store import MeasurementStore
from mlbroker.pricing.offer import Gpu, Hardware, Market
from mlbroker.profiles.estimators import measured
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Evidence, Target

HARDWARE = Hardware(8, 32.0, "x86_64", cpu="Ice Lake", gpu=Gpu("L4", 24.0), gpu_count=1)


def profiled(job: Job, **changes: object) -> Measurement:
    values: dict[str, object] = {
        "job": job.name,
        "config": "local",
        "time_s": 0.5,
        "steps": 100,
        "hardware": HARDWARE,
        "fingerprint": job.fingerprint(),
        "measured_at": datetime(2026, 1, 2, tzinfo=UTC),
        "facts": facts.of(job, measured=True),
    }
    return Measurement(**(values | changes))  # type: ignore[arg-type]


def test_every_field_survives(tmp_path: Path) -> None:
    m = Measurement(
        job="j",
        config="c",
        time_s=1.25,
        price_per_hour_usd=Decimal("0.250"),
        group="g",
        cloud="aws",
        region="r",
        instance_type="t",
        nodes=2,
        market=Market.SPOT,
        batch_size=8,
        steps=5,
        status=Status.FAILED,
        reason="out of memory",
        rep=1,
        features={"a": 1.0},
        hardware=HARDWARE,
        sigma_log=0.01,
        overhead_s=3.0,
        peak_memory_gib=1.5,
        peak_gpu_memory_gib=2.5,
        gpu_used=True,
        fingerprint="f",
        measured_at=datetime(2026, 1, 2, tzinfo=UTC),
        extra={"torch": "2"},
        facts={"code": "1"},
    )
    MeasurementStore(tmp_path).add([m])
    assert MeasurementStore(tmp_path).all() == [m]


def test_an_empty_home_is_an_empty_store_and_stays_empty(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "home")
    assert store.all() == store.for_job(Job("j", "run")) == store.history(Job("j", "run")) == []
    assert not (tmp_path / "home").exists()


def test_the_same_table_twice_counts_once(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path)
    rows = [Measurement("j", "c", 1.0), Measurement("j", "d", 1.0)]
    assert store.add(rows) == 2
    assert store.add(rows) == 0
    assert store.all() == rows


def test_imported_rows_match_by_name_and_profiles_by_what_was_measured(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path)
    job = Job("mine", "python train.py")
    imported, other = Measurement("mine", "c", 1.0), Measurement("theirs", "c", 1.0)
    own = profiled(job)
    store.add([imported, other, own])
    assert store.for_job(job) == [imported, own]
    assert store.history(job) == [other]
    assert store.for_job(Job("renamed", "python train.py")) == [own]
    other_version = store.for_job(Job("mine", "python other.py"))
    assert [m.version for m in other_version] == [
        None,
        "on an earlier version, its command changed since",
    ]


def since(store: MeasurementStore, job: Job) -> tuple[str, float]:
    [row] = store.for_job(job)
    return row.version or "", row.doubt_log


def test_a_changed_job_is_less_sure_by_what_changed(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for name in ("train.py", "model.py", "data.py"):
        (work / name).write_text("x = 1  # one\n")
    (work / "data.csv").write_bytes(b"x" * 1000)
    command = "python train.py --data data.csv"
    job = Job("j", command, workdir=str(work), envs={"A": "1"})
    store = MeasurementStore(tmp_path / "home")
    store.add([profiled(job)])
    (work / "model.bin").write_bytes(b"y" * 10_000)
    nothing = since(store, job)
    assert nothing == ("", 0.0)

    (work / "train.py").write_text("# what it is for\nx  =  1\n\n")
    comment = since(store, job)
    only = "only comments or blank space of 1 file changed"
    assert comment[0] == f"on an earlier version, {only} since"

    (work / "train.py").write_text("x = 2\n")
    one = since(store, job)
    assert one[0] == "on an earlier version, 1 file changed since"
    for name in ("model.py", "data.py"):
        (work / name).write_text("x = 2\n")
    three = since(store, job)
    assert three[0] == "on an earlier version, 3 files changed since"

    for name in ("train.py", "model.py", "data.py"):
        (work / name).write_text("x = 1  # one\n")
    (work / "data.csv").write_bytes(b"x" * 2000)
    data = since(store, job)
    assert data[0] == "on an earlier version, data.csv had 1,000 bytes, now 2,000 since"
    (work / "data.csv").write_bytes(b"x" * 1000)
    renamed = since(store, replace(job, command=f"{command} --fast"))
    assert 0 < comment[1] < one[1] < three[1] < data[1] <= renamed[1]

    # All at once, it is another job that bears its name.
    (work / "train.py").write_text("print(2)")
    changed = Job(
        "j", "python other.py", setup="s", num_nodes=2, envs={"A": "2"}, workdir=str(work)
    )
    assert store.for_job(changed) == []
    [outdated] = store.outdated(changed)
    assert outdated.reasons == (
        "its command changed",
        "its setup changed",
        "1 file changed",
        "its envs changed (A)",
        "it ran on 1 nodes, now 2",
        "data.csv is gone",
    )


def test_how_another_version_failed_or_was_stopped_says_nothing_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("x = 1\n")
    job = Job("j", "python train.py", workdir=str(tmp_path))
    store = MeasurementStore(tmp_path / "home")
    store.add([profiled(job, status=Status.FAILED), profiled(job, status=Status.STOPPED)])
    store.add([profiled(job, peak_memory_gib=3.0)])
    (tmp_path / "train.py").write_text("x = 1  # here\n")
    assert [m.peak_memory_gib for m in store.for_job(job)] == [None, None, 3.0]
    (tmp_path / "train.py").write_text("x = 2\n")
    [left] = store.for_job(job)
    assert (left.status, left.peak_memory_gib) == (Status.OK, None)


def test_what_was_measured_now_outweighs_earlier_versions() -> None:
    target = Target("local", "c", HARDWARE)
    old = [Measurement("j", "c", 4.0, cloud="local", doubt_log=0.5, version="v")] * 9
    new = Measurement("j", "c", 1.0, cloud="local")
    [only_old] = measured.estimate(Evidence(Job("j", "r"), old), [target])
    [both] = measured.estimate(Evidence(Job("j", "r"), [*old, new]), [target])
    assert only_old is not None
    assert both is not None
    assert only_old.sigma_log >= 0.5
    assert only_old.evidence.endswith(", v")
    assert both.median_step_time_s == pytest.approx(1.0, rel=0.05)
    assert both.sigma_log < 0.06
    assert both.evidence == "measured once on c"


def test_forgetting_drops_a_job_or_one_of_its_machines(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path)
    store.add([Measurement("j", "a", 1.0), Measurement("j", "b", 1.0), Measurement("k", "a", 1.0)])
    assert store.forget("j", config="a") == 1
    assert store.forget("j") == 1
    assert [m.job for m in store.all()] == ["k"]


def write_many(home: Path, writer: int) -> None:
    for index in range(10):
        MeasurementStore(home).add([Measurement(f"w{writer}", f"c{index}", 1.0)])


def test_parallel_writers_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(tmp_path, n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(MeasurementStore(tmp_path).all()) == 40


def test_a_damaged_store_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "measurements.db").write_bytes(b"not a database" * 100)
    with pytest.raises(MlbrokerError, match="cannot be used"):
        MeasurementStore(tmp_path).all()
    with pytest.raises(MlbrokerError, match="move it away"):
        MeasurementStore(tmp_path).add([Measurement("j", "c", 1.0)])
