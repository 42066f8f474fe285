"""Waves of rented lanes: batches that are even, and a machine's word that is looked at first."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.studies import STUDY, AStudy

from mlbroker.broker.guest.packing import pack
from mlbroker.broker.tuning.batch import RESULTS
from mlbroker.broker.tuning.proposals import Proposals
from mlbroker.broker.tuning.waves import PER_LANE, Stretch, Task, collect, hand_over, next_wave
from mlbroker.broker.tuning.writer import Writer

GOOD: dict[str, Any] = {
    "trial": 0, "until": 1, "code": None, "seconds": 1.5, "metrics": [[1, 0.5]]
}  # fmt: skip


def begun(folder: Path, trials: int | None = 8) -> tuple[AStudy, Writer]:
    study = AStudy(folder, STUDY._replace(trials=trials))
    study.begin()
    return study, Writer(study.record)


def arrived(folder: Path, *lines: object, more: bytes = b"") -> Path:
    """What a lane left: its results, and the pause of trial 0."""
    home, archive = folder / "left", folder / "checkpoint.tar"
    (home / "0").mkdir(parents=True)
    (home / "0" / "step").write_text("1")
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    (home / RESULTS).write_bytes(text + more)
    with open(archive, "wb") as stream:
        pack(str(home), stream)
    return archive


def waiting(study: AStudy, writer: Writer) -> None:
    """Trial 0 is run r's."""
    with writer.alone():
        writer.add(kind="trial", trial=0, point={"X": 0.5, "KIND": "a"}, grace=1)
    hand_over(study.record, writer, "r", [Task(0, 1)], study.folder / "restore.tar")
    assert not (study.folder / "restore.tar").exists(), "it has no pause yet"


def test_batches_are_even_and_no_trial_is_in_two(tmp_path: Path) -> None:
    study, writer = begun(tmp_path, None)
    with writer.alone():
        proposals = Proposals(study.record, writer.state, 1)
        batches = next_wave(writer, proposals, 2, 1e9, anew=False)
    assert len(batches) == 2
    trials = [task.trial for batch in batches for task in batch]
    assert sorted(trials) == list(range(2 * PER_LANE))
    loads = [sum(task.until for task in batch) for batch in batches]
    assert abs(loads[0] - loads[1]) <= 3
    with writer.alone():
        assert next_wave(writer, proposals, 2, 0.0, anew=False) == []


def test_what_came_home_is_taken_in_once(tmp_path: Path) -> None:
    study, writer = begun(tmp_path)
    waiting(study, writer)
    archive = arrived(tmp_path, GOOD, {**GOOD, "metrics": [[1, 0.9]]})
    with writer.alone():
        assert collect(study.record, writer, "r", archive) == [Stretch(1, 1.5)]
        assert collect(study.record, writer, "r", archive) == []
    (mine,) = study.now().trials
    assert mine.metrics == {1: 0.5}
    assert (mine.trial.reached, mine.seconds, mine.lane) == (1, 1.5, None)
    assert (study.record.checkpoint(0) / "step").read_text() == "1"
    hand_over(study.record, writer, "s", [Task(0, 3)], tmp_path / "restore.tar")
    assert (tmp_path / "restore.tar").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"until": 9},
        {"trial": 5},
        {"trial": "0"},
        {"code": "0"},
        {"seconds": -1},
        {"seconds": None},
        {"metrics": None},
        {"metrics": [[0, 1.0]]},
        {"metrics": [[1]]},
        {"metrics": [["1", 1.0]]},
        {"metrics": [[1, "9"]]},
        {"metrics": [[1, float("inf")]]},
    ],
    ids=str,
)
def test_a_word_of_another_shape_is_a_lost_trial(tmp_path: Path, wrong: dict[str, Any]) -> None:
    study, writer = begun(tmp_path)
    waiting(study, writer)
    with writer.alone():
        assert collect(study.record, writer, "r", arrived(tmp_path, {**GOOD, **wrong})) == []
    (mine,) = study.now().trials
    assert (mine.metrics, mine.trial.reached, mine.working_until) == ({}, 0, 1)
    assert not mine.trial.busy


@pytest.mark.parametrize("more", [b"{", b"[]\n", b"no JSON\n"])
def test_an_archive_that_is_damaged_brings_what_is_whole(tmp_path: Path, more: bytes) -> None:
    study, writer = begun(tmp_path)
    waiting(study, writer)
    archive = arrived(tmp_path, GOOD, more=more)
    with writer.alone():
        assert len(collect(study.record, writer, "r", archive)) == (0 if b"no" in more else 1)
    torn = tmp_path / "torn.tar"
    torn.write_bytes(b"x" * 1000)
    with writer.alone():
        assert collect(study.record, writer, "r", torn) == []
