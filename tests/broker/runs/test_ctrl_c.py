"""A Ctrl-C may arrive anywhere: the run is settled or still capped, and the exit code says 130."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from tests.broker.runs.test_terminal import WORDS, ended, terminal
from tests.support.mlbroker import PATIENCE_S, Cli, processes_with

# Presses Ctrl-C where a function of ours is entered or left for the n-th time, to the statement.
PRESS = """
import os, signal, sys
from mlbroker.broker.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
event, function, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
del sys.argv[1:4]
def press(frame, happens, _):
    global times
    if happens == event and frame.f_code.co_name == function:
        if frame.f_globals.get("__name__", "").startswith("mlbroker."):
            times -= 1
            if times == 0:
                sys.setprofile(None)
                os.kill(os.getpid(), signal.SIGINT)
sys.setprofile(press)
main()
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def press_at(cli: Cli, job: Path, event: str, function: str, times: int) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PRESS, event, function, str(times), "run", job, *WORDS, "--yes"],
        cwd=cli.folder,
        env=cli.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stderr


BEFORE_IT_RUNS = [
    ("call", "load_job", 1),
    ("return", "reserve", 1),
    # A transaction is open, and nothing yet sees to its end.
    ("c_return", "write", 2),
    ("call", "append", 2),
    ("return", "append", 3),
    ("call", "arm_kill", 1),
    ("call", "create", 1),
    ("call", "guest_program", 1),
    ("return", "_adopt", 1),
    ("call", "moved", 4),
    ("c_return", "write", 9),
    ("call", "_pull_log", 1),
]
AFTERWARDS = [
    ("call", "collect", 1),
    ("call", "terminate", 1),
    ("return", "_terminated", 1),
    ("call", "_settle", 1),
    ("call", "report", 1),
]


@pytest.mark.parametrize("at", BEFORE_IT_RUNS, ids=str)
def test_a_press_anywhere_stops_the_job_and_is_accounted(
    cli: Cli, at: tuple[str, str, int]
) -> None:
    mark = f"MARK={uuid.uuid4()}"
    code, said = press_at(cli, cli.job(f"export {mark}; sleep 300"), *at)
    assert code == 130, said
    assert processes_with(mark) == []
    assert [row["outcome"] for row in cli.ledger()] in ([], ["stopped"]), said


@pytest.mark.parametrize("at", AFTERWARDS, ids=str)
def test_a_press_after_the_job_changes_nothing_of_its_end(
    cli: Cli, at: tuple[str, str, int]
) -> None:
    code, said = press_at(cli, cli.job("true"), *at)
    assert code in (0, 130), said
    assert [row["outcome"] for row in cli.ledger()] == ["succeeded"], said


def test_a_press_at_the_question_before_it_launches_nothing(cli: Cli) -> None:
    with terminal(cli, "run", cli.job("touch ran"), *WORDS) as (screen, pid):
        screen.expect("Go ahead")
        screen.type("\x03")
        assert ended(screen, pid) == 130
    assert cli.ledger() == []


def test_a_press_at_the_question_what_now_stops_it(cli: Cli) -> None:
    with terminal(cli, "run", cli.job("sleep 300"), *WORDS, "--yes") as (screen, pid):
        screen.expect("running")
        screen.type("\x03")
        screen.expect(r"\[s\]top the job")
        screen.type("\x03")
        assert ended(screen, pid) == 130
    assert [row["outcome"] for row in cli.ledger()] == ["stopped"]
