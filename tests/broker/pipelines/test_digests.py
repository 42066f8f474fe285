"""What makes a stage another one, and what does not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlbroker.broker.files.pipeline_file import load_pipeline
from mlbroker.broker.pipelines.digests import definition_of, digest_of

FILE = """\
name: whole
---
name: make
run: python make.py
envs: {ROWS: "3"}
secrets: {TOKEN: null}
broker: {outputs: [data/], checkpoint: {path: ckpt/, every: 5m}}
---
name: use
run: python use.py
"""


@pytest.fixture
def digest(tmp_path: Path) -> Callable[..., str]:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "rows.csv").write_text("1,2")
    work = tmp_path / "work"
    work.mkdir()
    (work / "make.py").write_text("print(1)")

    def digest(text: str = FILE) -> str:
        path = work / "pipeline.yaml"
        path.write_text(text)
        file = load_pipeline(path)
        assert file is not None
        return digest_of(file.stages[0].job, work, file, {"given": tmp_path / "given"})

    return digest


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("work/data/part-1.csv", "an output"),
        ("work/ckpt/1", "a checkpoint"),
        ("work/__pycache__/make.pyc", "made again"),
    ],
)
def test_what_stages_make_makes_none_another(
    digest: Callable[..., str], tmp_path: Path, name: str, text: str
) -> None:
    before = digest()
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text)
    assert digest() == before
    assert digest(FILE.replace("use.py", "other.py")) == before, "of another stage"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"3"', '"4"'),
        ("make.py", "made.py"),
        ("TOKEN", "KEY"),
        ("name: make\n", "name: make\nsetup: x\n"),
    ],
)
def test_another_definition_is_another_stage(
    digest: Callable[..., str], old: str, new: str
) -> None:
    assert digest(FILE.replace(old, new)) != digest()


@pytest.mark.parametrize("name", ["work/make.py", "work/new.py", "given/rows.csv", "given/more"])
def test_other_code_or_inputs_are_another_stage(
    digest: Callable[..., str], tmp_path: Path, name: str
) -> None:
    before = digest()
    (tmp_path / name).write_text("2")
    assert digest() != before


def test_a_file_that_can_be_executed_is_another(digest: Callable[..., str], tmp_path: Path) -> None:
    before = digest()
    (tmp_path / "work" / "make.py").chmod(0o755)
    assert digest() != before


def test_names_and_contents_do_not_run_into_each_other(
    digest: Callable[..., str], tmp_path: Path
) -> None:
    given = tmp_path / "given"
    (given / "rows.csv").unlink()
    (given / "a").write_text("bc")
    one = digest()
    (given / "a").unlink()
    (given / "ab").write_text("c")
    assert digest() != one


def test_a_definition_holds_for_what_is_run(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(FILE)
    file = load_pipeline(tmp_path / "p.yaml")
    assert file is not None
    make, use = (definition_of(each.job) for each in file.stages)
    assert make != use
