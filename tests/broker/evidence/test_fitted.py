import json
from dataclasses import replace
from pathlib import Path

import pytest

from mlbroker.broker.evidence.store import FITTED_FILE, MeasurementStore, learnt, relearn
from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement

ROWS = [
    Measurement(
        f"past{i}",
        f"m.{vcpus}",
        (1 + i) * (0.1 + 0.9 / vcpus),
        instance_type=f"m.{vcpus}",
        hardware=Hardware(float(vcpus), 4.0 * vcpus, "x86_64"),
    )
    for i in range(4)
    for vcpus in (2, 4, 8, 16)
]


def test_what_was_learnt_is_kept_and_follows_the_store(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path)
    assert learnt(tmp_path) == {}
    store.add(ROWS)
    relearn(tmp_path)
    first = learnt(tmp_path)
    assert first["own"] > 0
    for job in ("past1", "past2", "past3"):
        store.forget(job)
    relearn(tmp_path)
    assert learnt(tmp_path) == {}
    assert list(tmp_path.glob(f"{FITTED_FILE}*")) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "other", "hyper": {"own": 1}}', "\x00", '{"hyper": 3}']
)
def test_a_damaged_file_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FITTED_FILE).write_text(text)
    assert learnt(tmp_path) == {}


def test_strange_values_are_left_out(tmp_path: Path) -> None:
    document = {"schema": "mlbroker.fitted/1", "hyper": {"own": "x", "linear": 2}}
    (tmp_path / FITTED_FILE).write_text(json.dumps(document))
    assert learnt(tmp_path) == {"linear": 2.0}


def test_a_long_history_is_read_where_jobs_meet(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path)
    lonely = [replace(ROWS[0], job=f"lonely{i}", config=f"z.{i}") for i in range(30)]
    store.add([*ROWS, *lonely])
    job = Job("new", "train")
    assert len(store.history(job)) == len(ROWS) + len(lonely)
    some = store.history(job, most=20)
    assert {row.config for row in ROWS} <= {row.config for row in some}
    assert len(some) <= 20
    assert store.history(job, most=20) == some
