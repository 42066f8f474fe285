"""How many steps a job has made, in a run: by its output, the hooks in its Pythons, a file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlbroker.broker.guest.step_count import StepCount
from mlbroker.broker.measure.agent_link import PROBE_FOLDER


@pytest.mark.parametrize(
    ("lines", "progress", "step", "steps"),
    [
        (b"::mlbroker step=12/300\n", None, 12, 300),
        (b"::mlbroker step=3\n::mlbroker step=2\n", None, 3, None),
        (b"it 7 loss 0.1\rit 8 loss 0.09\r", r"it (\d+)", 8, None),
        (b"[12 of 90]\n", r"\[(?P<step>\d+) of", 12, None),
        (b"step=five\n::mlbroker step=x\n", r"step=(\w+)", None, None),
        (b"nothing\n", None, None, None),
        (b"step 1/50\nstep 50/50\nstep 1/50\nstep 7/50\n", r"step (\d+)", 57, None),
        (b"s 9/50\ns 50/50\ns 1/50\n", r"s (?P<step>\d+)/(?P<total>\d+)", 51, None),
        (b"::mlbroker step=3/90\n::mlbroker step=4\n", None, 4, 90),
        (b"s 9/50\ns 10/50\n", r"s (?P<step>\d+)/(?P<total>\d+)", 10, 50),
        (b"::mlbroker step=80\nepoch 3\n", r"epoch (\d+)", 3, None),
        (b"epoch 3\n::mlbroker step=80\n", r"epoch (\d+)", 3, None),
        (b"::mlbroker step=99999999999999999999999\n", None, None, None),
    ],
)
def test_steps_are_read_from_the_output(
    tmp_path: Path, lines: bytes, progress: str | None, step: int | None, steps: int | None
) -> None:
    count = StepCount(str(tmp_path), progress)
    for line in lines.splitlines():
        count.read_line(line)
        count.look()
    assert (count.step, count.steps) == (step, steps)


HOOKED = {"PYTHONPATH": str(PROBE_FOLDER)}
TWICE = "from mlbroker_probe import steps\nfor i in steps(range(5)): pass"


def counted(folder: Path, script: str, times: int = 1, **env: str) -> StepCount:
    """The count of a script that is run so often, one after the other."""
    count = StepCount(str(folder), None)
    for _ in range(times):
        environment = os.environ | HOOKED | count.variables() | env
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        count.look(final=True)
    return count


def test_steps_are_counted_by_the_hooks_without_a_word_of_output(tmp_path: Path) -> None:
    count = counted(tmp_path, "from mlbroker_probe import step\nfor i in range(9): step(total=9)")
    assert (count.step, count.steps, count.counted_by) == (9, 9, "steps")
    # What ended processes wrote goes with them: a job that lasts for weeks starts many.
    count.look(final=True)
    assert list(tmp_path.iterdir()) == []


def test_processes_that_take_turns_make_one_count_without_a_total(tmp_path: Path) -> None:
    count = counted(tmp_path, TWICE, times=3)
    assert (count.step, count.steps) == (15, None)


def test_a_job_may_keep_the_hooks_out(tmp_path: Path) -> None:
    script = "import sys; sys.exit('mlbroker_imports' in sys.modules)"
    counted(tmp_path, script, MLBROKER_HOOKS="off")
    with pytest.raises(subprocess.CalledProcessError):
        counted(tmp_path, script)


def test_a_progress_file_is_read(tmp_path: Path) -> None:
    count = StepCount(str(tmp_path), None)
    Path(count.progress_file).write_text("12/300")
    assert count.look(final=True)
    assert (count.step, count.steps, count.counted_by) == (12, 300, "file")


def test_whatever_lies_in_the_folder_costs_no_more_than_its_count(tmp_path: Path) -> None:
    count = StepCount(str(tmp_path), None)
    pid = os.getpid()
    os.mkfifo(tmp_path / f"steps.{pid}")
    (tmp_path / f"torch.{pid}").mkdir()
    (tmp_path / f"keras.{pid}").symlink_to("/dev/zero")
    (tmp_path / f"lightgbm.{pid}").write_bytes(b"9" * 6_000_000)
    (tmp_path / f"xgboost.{pid}").write_text(f"1 {'9' * 400} 0 0\n{'1' * 400} 1 0 0\n# \nx\n")
    (tmp_path / "a.b.c").touch()
    (tmp_path / f"tqdm@a.py:1.{pid}").write_text("1000000000 0 7 0\n2000000000 4 7 0\n")
    os.mkfifo(tmp_path / "progress")
    for _ in range(3):
        count.look(final=True)
    assert (count.step, count.steps, count.counted_by) == (4, 7, "tqdm@a.py:1")
