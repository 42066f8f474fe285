"""A lane: the program of a run of a study, which does trial after trial: `python -m … FOLDER`.

Its run's machine ends it at the kill time, with all that it started, as any job. Lanes know of
each other by the study's record alone: whoever has nothing to do takes what the policy wants next,
and what a lane that died was at. The study goes on with other runs from the same record.
"""

import os
import signal
import sys
from pathlib import Path

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.guest.processes import boot_clock, stat_fields
from mlbroker.broker.output import say
from mlbroker.broker.tuning.checkpoints import Checkpoints
from mlbroker.broker.tuning.deciding import (
    ending,
    failed,
    next_step,
    only_failures,
    why_done,
    why_no_more,
)
from mlbroker.broker.tuning.proposals import Proposals
from mlbroker.broker.tuning.record import StudyFolder, TrialRecord
from mlbroker.broker.tuning.work import GRACE_S, Work, Worked
from mlbroker.broker.tuning.writer import Presence, Writer, lives
from mlbroker.policies.tuning.interface import Step
from mlbroker.profiles.search_space import variables

# Seconds from the start of the run's guest, set-up and all, to the kill time or the deadline.
LIFETIME = "MLBROKER_STUDY_S"
# Which lane this is, of how many that were begun together: `2/4`; and what those have in common.
NUMBER, ROUND = "MLBROKER_STUDY_LANE", "MLBROKER_STUDY_ROUND"
# A trial over which so many lanes died in turn has failed.
MOST_LOSSES = 3
# Before the kill time: nothing is begun that could not be ended by then.
MARGIN_S = 2 * GRACE_S
MARGIN_SHARE = 0.1  # of a short life, at most


class Lane:
    """One process that works on a study, beside others or alone."""

    def __init__(self, folder: StudyFolder, ends_at: float) -> None:
        self.folder, self.terms = folder, folder.terms()
        self._ends_at = ends_at  # on the boot clock
        self._stopping = False
        self.run_id = os.environ.get("MLBROKER_RUN_ID", "")
        number, _, lanes = os.environ.get(NUMBER, "1/1").partition("/")
        self.presence = Presence(folder, self.run_id)
        self.writer = Writer(folder)
        self.state = self.writer.state
        self._number = int(number)
        _keep_to(int(number), int(lanes))
        self._reported: int | None = None
        path = self.terms.get("checkpoint")
        self._anew = path is None
        self.checkpoints = path and Checkpoints(
            folder, self.run_id, Path(self.terms["workdir"], path), int(lanes)
        )

    def run(self) -> int:
        """Until the study is done, or this lane's time; the exit code."""
        signal.signal(signal.SIGTERM, self._stop)
        with self.writer.alone():
            self.writer.add(kind="run", run=self.run_id, round=os.environ.get(ROUND))
            proposals = Proposals(self.folder, self.state, int(self.terms["seed"]), self._number)
        while not self._stopping:
            with self.writer.alone():
                work = self._taken(proposals)
            if work is None:
                return 1 if only_failures(self.state) else 0
            self._work(*work)
        return 128 + signal.SIGTERM

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _taken(self, proposals: Proposals) -> tuple[int, Step] | None:
        """The trial that this lane works on from now on; None: it ends, and the record says so."""
        self._take_back()
        while self.writer.news:
            proposals.tell(self.state.trials[self.writer.news.pop(0)])
        if self.state.ended is not None:
            say(f"The study has ended: {self.state.ended}.")
            return None
        why = why_done(self.state, self.terms.get("patience")) or self._saves_elsewhere()
        while why is None:
            left_s = self._ends_at - boot_clock()
            step = next_step(self.state, proposals, self._reported, left_s, self._anew)
            if step is None:
                why = self._why_nothing(proposals)
                break
            point = proposals.ask() if step.trial is None else {}
            if point is None:
                continue  # everything was tried: what else is there to do?
            number = step.trial
            if number is None:
                number = len(self.state.trials)
                self.writer.add(kind="trial", trial=number, point=point, grace=step.until)
            self.writer.add(kind="works", trial=number, until=step.until, run=self.run_id)
            return number, step
        if why is not None:
            self.writer.add(kind="ended", why=why)
            say(f"The study ends: {why}.")
        return None

    def _take_back(self) -> None:
        """Trials of lanes that died wait where they were paused last."""
        for number, mine in enumerate(self.state.trials):
            if mine.lane is None or (mine.lane != self.run_id and lives(self.folder, mine.lane)):
                continue
            self.writer.add(kind="lost", trial=number)
            if mine.losses >= MOST_LOSSES:
                self.writer.add(**failed(self.state, number, f"{mine.losses} lanes died over it"))

    def _why_nothing(self, proposals: Proposals) -> str | None:
        """Why the study is over, as this lane has nothing to do; None: others are at work."""
        if any(mine.trial.busy for mine in self.state.trials):
            say("Nothing is left for this lane; others are at work.")
            return None
        return why_no_more(self.state, proposals)

    def _saves_elsewhere(self) -> str | None:
        if not self.checkpoints or not self.checkpoints.elsewhere:
            return None
        return (
            f"the job saves itself in {self.terms['checkpoint']}, and not, as several lanes need "
            "it, in $MLBROKER_CHECKPOINT_DIR; `parallel: 1` does with either"
        )

    def _work(self, number: int, step: Step) -> None:
        mine = self.state.trials[number]
        named = ", ".join(f"{name}={value}" for name, value in mine.point.items())
        say(f"Trial {number} to {step.until}, {step.reason}: {named}")
        if self.checkpoints:
            self.checkpoints.bring(number)
        worked = self._do(number, mine, step.until)
        if self.checkpoints:
            self.checkpoints.keep(number)
        with self.writer.alone():
            if worked.asked or self._stopping:
                self._stopping = True
                self.writer.add(kind="stopped", trial=number)
                return
            self._account(number, mine, step.until, worked)
        self._reported = number

    def _do(self, number: int, mine: TrialRecord, until: int) -> Worked:
        last = 0

        def heard(at: int, value: float | None) -> None:
            nonlocal last
            if at < last:
                say(f"Trial {number}: step {at} after step {last} is not counted")
                return
            last = at
            if at >= 1 and at not in mine.metrics:
                with self.writer.alone():
                    self.writer.add(kind="metric", trial=number, at=at, value=value)

        environment = {
            **variables(mine.point),
            "MLBROKER_TRIAL": str(number),
            "MLBROKER_RESOURCE": str(until),
        }
        if self.checkpoints:
            environment["MLBROKER_CHECKPOINT_DIR"] = str(self.checkpoints.own)
        work = Work(self.terms["command"], self.terms["workdir"], environment, until,
                    until >= self.state.study.most, self.state.study.regex)  # fmt: skip
        return work.to_its_end(heard, lambda: self._stopping)

    def _account(self, number: int, mine: TrialRecord, until: int, worked: Worked) -> None:
        """Write down how the work ended."""
        line = ending(self.state, number, until, worked.code, worked.seconds)
        self.writer.add(**line)
        if "why" in line:
            say(f"Trial {number} failed: {line['why']}")


def _keep_to(number: int, lanes: int) -> None:
    """Stay on this lane's part of the cores, with all that it starts."""
    here = sorted(os.sched_getaffinity(0))
    size = len(here) // lanes
    if lanes > 1 and size:
        os.sched_setaffinity(0, here[(number - 1) * size : number * size])


def _ends_at(life_s: float) -> float:
    """When this lane must be done: of its guest, which started it, the kernel knows the age."""
    fields = stat_fields(os.getppid())
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK") if fields else boot_clock()
    return began + life_s - min(MARGIN_S, life_s * MARGIN_SHARE)


def main(path: str) -> int:
    """The lane of the study in this folder."""
    try:
        return Lane(StudyFolder(Path(path)), _ends_at(float(os.environ[LIFETIME]))).run()
    except MlbrokerError as error:
        say(f"Error: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
