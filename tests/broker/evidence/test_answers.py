"""Answers are kept: nothing is worked out twice, and no other question is answered by them."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.evidence import answers
from mlbroker.broker.evidence.answers import FOLDER, KEPT, Answers
from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.estimators import transfer
from mlbroker.profiles.job import Job, Work
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence, Target
from mlbroker.profiles.probe_advice import Offered, advise

JOB = Job("j", "true", work=Work(1000))
BOXES = [Hardware(cores, 4.0 * cores, "x86_64", cpu="Ice Lake") for cores in (2, 4, 8, 16)]
TARGETS = [Target("aws", f"c{n}", box) for n, box in enumerate(BOXES)]


def rows(*times_s: float) -> list[Measurement]:
    return [
        Measurement("j", f"c{n}", time_s, None, steps=1, instance_type=f"c{n}", hardware=BOXES[n])
        for n, time_s in enumerate(times_s)
    ]


class Counting:
    """Asks `memory`, and counts what had to be worked out."""

    def __init__(self, home: Path) -> None:
        self.memory, self.worked_out = Answers(home), 0

    def recall(self, question, work_out):
        def counted():
            self.worked_out += 1
            return work_out()

        return self.memory.recall(question, counted)


@pytest.fixture
def memory(tmp_path: Path) -> Counting:
    return Counting(tmp_path)


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=4))
def test_what_is_recalled_is_what_was_worked_out(tmp_path_factory, times_s: list[float]) -> None:
    memory = Counting(tmp_path_factory.mktemp("home"))
    alone = Evidence(JOB, rows(*times_s))
    told = alone._replace(memory=memory)
    exact = transfer.estimate(alone, TARGETS)
    assert [transfer.estimate(told, TARGETS) for _ in range(2)] == [exact, exact]
    assert memory.worked_out == 1


def test_advice_is_recalled_too(memory: Counting) -> None:
    alone = Evidence(JOB, rows(1.0, 0.7))
    offers = [Offered(target, 0.1 * 2**n, 60.0) for n, target in enumerate(TARGETS)]
    exact = advise(alone, offers, 1000, 3600.0)
    told = alone._replace(memory=memory)
    assert [advise(told, offers, 1000, 3600.0) for _ in range(2)] == [exact, exact]
    assert memory.worked_out == 1
    assert advise(told, offers, 1000, 600.0) == advise(alone, offers, 1000, 600.0)
    assert advise(told, offers[:-1], 1000, 600.0) == advise(alone, offers[:-1], 1000, 600.0)
    assert memory.worked_out == 3


def test_other_evidence_is_another_question(memory: Counting) -> None:
    first = Evidence(JOB, rows(1.0, 0.7), memory=memory)
    for number, changed in enumerate(
        [
            first,
            first._replace(measurements=rows(1.0, 0.6)),
            first._replace(job=Job("j", "true", work=Work(10))),
            first._replace(history=[replace(row, job="k") for row in rows(2.0, 1.0)]),
            first._replace(fitted={"own": 0.5}),
        ],
        start=1,
    ):
        assert transfer.estimate(changed, TARGETS) == transfer.estimate(
            changed._replace(memory=None), TARGETS
        )
        assert memory.worked_out == number
    transfer.estimate(first, TARGETS[:-1])
    transfer.estimate(first, [*TARGETS[:-1], TARGETS[-1]._replace(nodes=2)])
    assert memory.worked_out == 7


def test_other_code_answers_for_itself(memory: Counting, monkeypatch) -> None:
    told = Evidence(JOB, rows(1.0, 0.7), memory=memory)
    transfer.estimate(told, TARGETS)
    monkeypatch.setattr(answers, "_code", lambda: (("transfer.py", 1, 2),))
    transfer.estimate(told, TARGETS)
    assert memory.worked_out == 2


def test_a_changed_file_is_other_code(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.py").write_text("A = 1\n")
    package = type("Package", (), {"__path__": [str(tmp_path)]})
    monkeypatch.setattr(answers, "profiles", package)
    answers._code.cache_clear()
    before = answers._code()
    # An installer may give it the old date, and the size may happen to be the same.
    stat = (tmp_path / "a.py").stat()
    (tmp_path / "new").write_text("A = 2\n")
    os.utime(tmp_path / "new", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (tmp_path / "new").replace(tmp_path / "a.py")
    answers._code.cache_clear()
    try:
        assert answers._code() != before
    finally:
        answers._code.cache_clear()


@pytest.mark.parametrize("text", ["", "[[1,", "\0"])
def test_a_damaged_answer_is_worked_out_anew(memory: Counting, tmp_path: Path, text: str) -> None:
    told = Evidence(JOB, rows(1.0, 0.7), memory=memory)
    exact = transfer.estimate(told, TARGETS)
    (path,) = (tmp_path / FOLDER).iterdir()
    path.write_text(text)
    assert transfer.estimate(told, TARGETS) == exact
    assert json.loads(path.read_text())


def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file where the folder would be")
    told = Evidence(JOB, rows(1.0, 0.7), memory=Answers(tmp_path))
    assert transfer.estimate(told, TARGETS) == transfer.estimate(
        told._replace(memory=None), TARGETS
    )


def test_old_answers_make_room(tmp_path: Path) -> None:
    memory = Answers(tmp_path)
    for number in range(KEPT + 5):
        memory.recall(("q", number), lambda number=number: number)
        newest = max((tmp_path / FOLDER).iterdir(), key=lambda path: path.stat().st_mtime_ns)
        assert json.loads(newest.read_text()) == number
    assert len(list((tmp_path / FOLDER).iterdir())) == KEPT
