"""`mlbroker run` as a person at a terminal sees it: the question, the live line, Ctrl-C."""

import os
import pty
import re
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S, PROGRAM, Cli, wait_for


class Terminal:
    """The other end of a pseudo-terminal that `mlbroker` runs on."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.text = ""

    def expect(self, pattern: str, seconds: float = PATIENCE_S) -> None:
        until = time.monotonic() + seconds
        while re.search(pattern, self.text) is None:
            assert time.monotonic() < until, f"no {pattern!r} in {self.text!r}"
            self.read(0.1)

    def read(self, seconds: float) -> None:
        if select.select([self._file], [], [], seconds)[0]:
            try:
                self.text += os.read(self._file, 65536).decode("utf-8", "replace")
            except OSError:
                return

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())


@contextmanager
def terminal(cli: Cli, *words: object, columns: int = 100) -> Iterator[tuple[Terminal, int]]:
    pid, file = pty.fork()
    if pid == 0:
        os.chdir(cli.folder)
        environment = cli.environment(TERM="xterm", COLUMNS=str(columns), LINES="30")
        environment.pop("NO_COLOR")
        os.execve(PROGRAM[0], [*PROGRAM, *map(str, words)], environment)
    try:
        yield Terminal(file), pid
    finally:
        os.close(file)


def ended(screen: Terminal, pid: int) -> int:
    def done() -> tuple[int, int] | None:
        screen.read(0.02)
        found, status = os.waitpid(pid, os.WNOHANG)
        return (found, status) if found else None

    return os.waitstatus_to_exitcode(wait_for(done)[1])


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


WORDS = ("--on", "local", "--local-price", "1", "--budget", "1")


def test_it_asks_shows_progress_and_tells_what_it_cost(cli: Cli) -> None:
    gate = cli.folder / "gate"
    job = cli.job(f"echo ::mlbroker step=3/4; until test -e {gate}; do sleep 0.05; done")
    with terminal(cli, "run", job, *WORDS) as (screen, pid):
        screen.expect("Go ahead")
        screen.type("y\n")
        screen.expect(r"running · .*█+░* 3/4 · .*of 1 USD")
        gate.touch()
        assert ended(screen, pid) == 0
    assert "succeeded" in screen.text
    assert [row["outcome"] for row in cli.ledger()] == ["succeeded"]


def test_no_means_no(cli: Cli) -> None:
    with terminal(cli, "run", cli.job("touch ran"), *WORDS) as (screen, pid):
        screen.expect("Go ahead")
        screen.type("n\n")
        assert ended(screen, pid) == 3
    assert cli.ledger() == []
    assert not (cli.folder / "ran").exists()


@pytest.mark.parametrize(
    ("answer", "code", "outcome"), [("s", 130, "stopped"), ("d", 130, None), ("c", 0, "succeeded")]
)
def test_ctrl_c_asks_once(cli: Cli, answer: str, code: int, outcome: str | None) -> None:
    gate = cli.folder / "gate"
    job = cli.job(f"echo up; until test -e {gate}; do sleep 0.05; done")
    with terminal(cli, "run", job, *WORDS, "--yes") as (screen, pid):
        screen.expect("up")
        screen.type("\x03")
        screen.expect(r"\[s\]top the job, \[d\]etach")
        screen.type(f"{answer}\n")
        if answer == "c":
            gate.touch()
        assert ended(screen, pid) == code
    if answer == "d":
        # It goes on in the background, carried, and settles by itself.
        assert [row["state"] for row in cli.ledger()] != ["settled"]
        gate.touch()
        wait_for(lambda: [row["outcome"] for row in cli.ledger()] == ["succeeded"])
    else:
        assert [row["outcome"] for row in cli.ledger()] == [outcome]


def test_a_job_that_does_nothing_is_ended_when_that_is_asked_for(cli: Cli) -> None:
    """For so long from its own start: what set-up waited for does not count."""
    # It writes the time down without starting a program, which would be work.
    beat = "printf '%(%s)T\\n' -1"
    job = cli.job(
        f"mkfifo pipe; exec 3<>pipe; {beat} > started; "
        f"while :; do {beat} > alive; read -t 0.3 -u 3; done",
        setup="sleep 3",
    )
    answer = cli.run_local(job, "--on-idle", "stop", "--idle-after", "2s", budget="10")
    assert answer.returncode == 3, answer.stderr
    started, alive = (int((cli.folder / name).read_text()) for name in ("started", "alive"))
    assert alive - started >= 1
    assert "idle" in answer.stderr
    assert [row["outcome"] for row in cli.ledger()] == ["stopped"]


def test_a_forecast_over_the_cap_is_warned_of_and_stopped_on_request(cli: Cli) -> None:
    job = cli.job("for i in $(seq 600); do echo ::mlbroker step=$i/600; sleep 0.2; done")
    answer = cli.run_local(job, "--on-overrun", "stop", price="360", budget="4")
    assert answer.returncode == 3, answer.stderr
    assert "the cap ends it at" in answer.stderr
    (row,) = cli.ledger()
    assert row["outcome"] == "stopped"
    assert float(row["spent_usd"]) < 3, "well before the cap"


def test_no_terminal_is_too_narrow_for_ids_amounts_and_moments(cli: Cli) -> None:
    assert cli.run_local(cli.job("true", "the-job-with-the-long-name-of-somebody")).returncode == 0
    (row,) = cli.ledger()
    wanted = (row["run_id"], row["spent_usd"], row["outcome"])
    for words in (("ledger",), ("ps", "--all")):
        for columns in (80, 40):
            with terminal(cli, *words, columns=columns) as (screen, pid):
                assert ended(screen, pid) == 0
            assert [cell for cell in wanted if cell not in screen.text] == [], screen.text
            assert "…" not in screen.text
            fits = all(len(line) <= columns for line in plain(screen.text).splitlines())
            assert fits or columns < 80
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", screen.text)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
