"""Programmes are solved once, and what is wrong with the files is no more than time lost."""

import os
from pathlib import Path

import numpy as np
import pytest

from mlbroker.broker import programmes
from mlbroker.broker.programmes import FOLDER, Programmes
from mlbroker.policies.spot.programme import Programme, Question, solve

QUESTION = Question(2.0, 3.0, 0.1, 0.1, 0.3, 1.0, 1.0, 0.0, steps=20)


def same(first: Programme, second: Programme) -> bool:
    names = ("step_h", "value", "idle_up", "idle_down", "demand_up", "demand_down", "spot")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """The questions that were solved, one after the other."""
    asked: list[Question] = []

    def counting(question: Question) -> Programme:
        asked.append(question)
        return solve(question)

    monkeypatch.setattr(programmes, "solve", counting)
    return asked


def file_of(home: Path) -> Path:
    (path,) = (home / FOLDER).iterdir()
    return path


def test_the_next_call_reads_what_this_one_solved(tmp_path: Path, solved: list[Question]) -> None:
    first = Programmes(tmp_path)(QUESTION)
    again = Programmes(tmp_path)
    assert same(again(QUESTION), first)
    assert again(QUESTION) is again(QUESTION), "in one call it is read once"
    assert same(first, solve(QUESTION))
    assert solved == [QUESTION]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nonsense", None])
def test_a_damaged_file_is_solved_anew(
    tmp_path: Path, solved: list[Question], damage: bytes | None
) -> None:
    first = Programmes(tmp_path)(QUESTION)
    path = file_of(tmp_path)
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    assert same(Programmes(tmp_path)(QUESTION), first)
    assert solved == [QUESTION] * 2
    assert same(Programmes(tmp_path)(QUESTION), first), "and kept again"
    assert len(solved) == 2


def test_a_file_of_other_shapes_is_no_programme(tmp_path: Path, solved: list[Question]) -> None:
    Programmes(tmp_path)(QUESTION)
    path = file_of(tmp_path)
    with path.open("wb") as file:
        np.savez(file, step_h=0.1, value=np.zeros((3, 3), np.float32), moves=np.zeros((5, 3, 6, 4)))
    Programmes(tmp_path)(QUESTION)
    assert len(solved) == 2


def test_where_nothing_can_be_written_it_is_solved_all_the_same(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file, where the folder should be")
    assert same(Programmes(tmp_path)(QUESTION), solve(QUESTION))


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programmes, "KEPT", 2)
    solver = Programmes(tmp_path)
    names = []
    for number in range(3):
        solver(Question(2.0, 3.0 + number, 0.1, 0.1, 0.3, 1.0, 1.0, 0.0, steps=10))
        new = {path.name for path in (tmp_path / FOLDER).iterdir()} - set(names)
        names += sorted(new)
        for path in (tmp_path / FOLDER).iterdir():
            if path.name in new:
                os.utime(path, ns=(number, number))
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == set(names[1:])
