"""What of a box comes home: its output folder, what is named, else what is new and small."""

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlbroker.broker.guest import box as files
from mlbroker.broker.guest.outputs import KEPT_BYTES, KEPT_FILES, matches, pack_outputs
from mlbroker.broker.guest.unpacking import Unpacked, unpack


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """Of a job that has a file of its bundle, and began after it."""
    box = tmp_path / "box"
    (box / files.OUTPUTS).mkdir(parents=True)
    put(box, {"data.txt": "bundle"})
    (box / files.RUNNING).write_text("true\n")
    began_ns = (box / files.RUNNING).stat().st_mtime_ns
    probe = box / "probe"
    while probe.write_text("") or probe.stat().st_ctime_ns == began_ns:
        # Until the disk's clock has ticked.
        pass
    return box


def put(box: Path, texts: Mapping[str, str], folder: str = files.WORK) -> None:
    for name, text in texts.items():
        path = box / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def home(box: Path, tmp_path: Path) -> Callable[..., tuple[set[str], Unpacked | None]]:
    def home(**spec: Any) -> tuple[set[str], Unpacked | None]:
        (box / files.SPEC).write_text(json.dumps(spec))
        stream = io.BytesIO()
        pack_outputs(str(box), stream)
        target = tmp_path / "home"
        target.mkdir()
        if not stream.tell():
            return set(), None
        stream.seek(0)
        unpacked = unpack(stream, str(target))
        assert not unpacked.left_out
        return {
            os.path.relpath(os.path.join(at, name), target)
            for at, _, names in os.walk(target)
            for name in names
        }, unpacked

    return home


def test_what_is_named_comes_home_with_what_is_in_the_output_folder(box: Path, home: Any) -> None:
    put(box, {"model.bin": "m", "both": "of work", "runs/1/a.json": "{}", "runs/1/a.log": "l"})
    put(box, {"runs/2/deep/er/b.json": "{}", "plots/p.png": "p", "plots/q/r.png": "r", "no": ""})
    put(box, {"metrics": "1", "both": "of outputs"}, files.OUTPUTS)
    (box / files.WORK / "best").symlink_to("model.bin")
    (box / files.WORK / "latest").symlink_to("runs/2")
    (box / files.WORK / "secret").symlink_to("/etc/passwd")
    named = [
        "model.bin", "./plots/", "runs/**/*.json", "[bls]*t", "both", "best*.pt", "data.txt",
    ]  # fmt: skip
    names, unpacked = home(outputs=named)
    assert names == {
        "metrics", "both", "model.bin", "best", "plots/p.png", "plots/q/r.png", "runs/1/a.json",
        "runs/2/deep/er/b.json", "data.txt",
    }  # fmt: skip
    assert sorted(unpacked.missing.named) == [
        "best*.pt (nothing of this name was there)",
        "both ($MLBROKER_OUTPUT_DIR has one of this name)",
        "latest (a link to a folder: name that one)",
        "secret (a link that leads out of the work directory)",
    ]


def test_of_several_machines_only_the_first_is_asked_for_what_is_not_there(home: Any) -> None:
    assert home(outputs=["model.bin"], facts={"MLBROKER_NODE_RANK": "1"}) == (set(), None)


def test_where_nothing_is_named_what_is_new_comes_home(box: Path, home: Any) -> None:
    put(box, {"model.bin": "m", "logs/a": "a", "ckpt/last/w": "w", "a/__pycache__/x.pyc": "x"})
    names, unpacked = home(outputs=[], checkpoint={"path": "ckpt/", "every_s": 60})
    assert names == {"model.bin", "logs/a"}
    assert not unpacked.missing


def test_what_is_changed_comes_home_too(box: Path, home: Any) -> None:
    (box / files.WORK / "data.txt").write_text("results")
    assert home(outputs=[])[0] == {"data.txt"}


@pytest.mark.parametrize(
    "spec", [{}, {"outputs": None}, {"outputs": [], "workdir": "/home/ada/project"}]
)
def test_nothing_is_taken_of_a_users_own_folder_nor_of_a_run_that_did_not_ask(
    box: Path, home: Any, spec: dict[str, Any]
) -> None:
    put(box, {"model.bin": "m"})
    assert home(**spec) == (set(), None)


def test_a_job_that_uses_its_output_folder_has_said_what_counts(box: Path, home: Any) -> None:
    put(box, {"scratch": "s"})
    put(box, {"model": "m"}, files.OUTPUTS)
    assert home(outputs=[])[0] == {"model"}


def test_a_job_that_never_began_left_nothing(box: Path, home: Any) -> None:
    put(box, {"model.bin": "m"})
    (box / files.RUNNING).unlink()
    assert home(outputs=[]) == (set(), None)


def test_what_is_too_much_is_named_and_stays(box: Path, home: Any) -> None:
    put(box, {"model.bin": "m", ".cache/c": "c"})
    with open(box / files.WORK / "dump", "wb") as dump:
        dump.truncate(KEPT_BYTES + 1)
    names, unpacked = home(outputs=[])
    assert names == {"model.bin", ".cache/c"}
    why = "100,000,001 bytes, beyond what is kept unasked: list it under `outputs:`"
    assert unpacked.missing.named == [f"dump ({why})"]


def test_of_too_many_files_those_nearest_to_the_top_are_kept(box: Path, home: Any) -> None:
    put(box, {f"data/{number}": "" for number in range(KEPT_FILES)})
    put(box, {"model.bin": "m", ".cache": "c"})
    names, unpacked = home(outputs=[])
    assert (len(names), "model.bin" in names, ".cache" in names) == (KEPT_FILES, True, False)
    assert unpacked.missing.count == 2


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("a", "a", True), ("a/b/c", "a", True), ("ab", "a", False), ("b/a", "a", False),
        ("a/b.pt", "*.pt", False), ("b.pt", "*.pt", True), ("x.pt/y", "*.pt", True),
        ("a/b.pt", "**/*.pt", True), ("b.pt", "**/*.pt", True), ("a/b/c/d", "a/**/d", True),
        ("a/d", "a/**/d", True), ("a/b", "**", True), ("a", "a/b", False), ("a/b", "?/[a-c]", True),
        ("anything", "", True), ("A", "a", False),
    ],
)  # fmt: skip
def test_patterns_are_those_of_a_shell(path: str, pattern: str, fits: bool) -> None:
    assert matches(path.split("/"), [part for part in pattern.split("/") if part]) is fits


def test_a_stage_in_the_users_own_folder_hands_on_what_is_named(
    box: Path, home: Any, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    put(own, {"model.bin": "m", "data/1": "d", "code.py": "", ".mlbroker-inputs/a/data/1": "x"}, "")
    put(box, {"metrics": "1"}, files.OUTPUTS)
    names, _ = home(outputs=["**/*.bin", "data", "**/1"], workdir=str(own), inputs="/elsewhere")
    assert names == {"metrics", "model.bin", "data/1"}


@pytest.mark.parametrize("inputs", [None, "/elsewhere"])
def test_of_the_users_own_folder_nothing_else_comes(
    box: Path, home: Any, tmp_path: Path, inputs: str | None
) -> None:
    own = tmp_path / "own"
    put(own, {"model.bin": "m"}, "")
    named = ["model.bin"] if inputs is None else []
    assert home(outputs=named, workdir=str(own), inputs=inputs) == (set(), None)
