"""A lane: the program of a study's run, which does trial after trial: `python -m … FOLDER`.

The run's machine ends it at the kill time, with all that it started, as any job; the study goes
on with another run from its record.
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.guest.processes import boot_clock, stat_fields
from mlbroker.broker.output import say
from mlbroker.broker.tuning.proposals import Proposals
from mlbroker.broker.tuning.record import StudyFolder, TrialRecord, Writer
from mlbroker.broker.tuning.work import GRACE_S, Work, Worked
from mlbroker.policies.tuning import POLICIES
from mlbroker.policies.tuning.budget import Pace, within
from mlbroker.policies.tuning.interface import FAILED, State, Step
from mlbroker.profiles.search_space import as_text

# Seconds from the start of the run's guest, set-up and all, to the kill time or the deadline.
LIFETIME = "MLBROKER_STUDY_S"
FAILURES_ALONE = 5
# Before the kill time: nothing is begun that could not be ended by then.
MARGIN_S = 2 * GRACE_S
MARGIN_SHARE = 0.1  # of a short life, at most
ALL_TRIED = "all that there is to try was tried"
PAYS_FOR_NO_MORE = "what is left of the budget pays for no more"
POLICY = "auto"


class Lane:
    """One process that works on a study, alone."""

    def __init__(self, folder: StudyFolder, ends_at: float) -> None:
        self.folder, self.terms = folder, folder.terms()
        self._ends_at = ends_at  # on the boot clock
        self._stopping = False
        self.writer = Writer(folder)
        self.state = folder.load()
        self._reported: int | None = None
        self._wanted = True  # whether the policy had more to do, were it paid for

    def run(self) -> int:
        """Until the study is done, or this lane's time; the exit code."""
        signal.signal(signal.SIGTERM, self._stop)
        self._add(kind="run", run=os.environ.get("MLBROKER_RUN_ID", ""))
        self._put_away_what_was_left()
        proposals = Proposals(self.folder, self.state, int(self.terms["seed"]))
        while not self._stopping:
            why = self._why_done()
            step = None if why else self._next(proposals)
            if step is None:
                why = why or (PAYS_FOR_NO_MORE if self._wanted else ALL_TRIED)
                self._add(kind="ended", why=why)
                say(f"The study ends: {why}.")
                return 1 if self._only_failures() else 0
            self._work(step, proposals)
        return 128 + signal.SIGTERM

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _add(self, **line: Any) -> None:
        self.writer.add(self.state, **line)

    def _why_done(self) -> str | None:
        study, trials = self.state.study, self.state.trials
        if self._only_failures():
            why = trials[-1].failed or f"it told no number of {study.metric}"
            return f"the first {FAILURES_ALONE} trials failed, the last of them: {why}"
        patience = self.terms.get("patience")
        if patience is not None and self.state.stale_steps >= patience * study.most:
            return f"nothing better in {patience} whole trials' work"
        if study.trials is not None and len(trials) >= study.trials:
            whole = [each for each in trials if each.trial.reached >= study.most]
            if whole and max(trials, key=_score) in whole:
                return f"{len(trials)} trials are done, and the best is a whole one"
        return None

    def _only_failures(self) -> bool:
        trials = self.state.trials
        told_nothing = (each.trial.reached and each.trial.score == FAILED for each in trials)
        return len(trials) >= FAILURES_ALONE and all(told_nothing)

    def _next(self, proposals: Proposals) -> Step | None:
        """What the policy wants, if it can be paid for; the budget may finish the best instead."""
        study, trials = self.state.study, self.state.trials
        may_start = proposals.more and (study.trials is None or len(trials) < study.trials)
        seen = State([each.trial for each in trials], study.most, self._reported, may_start,
                     proposals.warm)  # fmt: skip
        left_s = self._ends_at - boot_clock()
        anew = self._checkpoints() is None
        pace = Pace([each.step_s for each in trials], left_s, anew)
        wanted = POLICIES[POLICY]().decide(seen)
        self._wanted = wanted is not None
        return within(seen, wanted, pace) if left_s > 0 else None

    def _work(self, step: Step, proposals: Proposals) -> None:
        number = step.trial
        if number is None:
            point = proposals.ask()
            if point is None:
                return
            number = len(self.state.trials)
            self._add(kind="trial", trial=number, point=point, grace=step.until)
        mine = self.state.trials[number]
        self._add(kind="works", trial=number, until=step.until)
        named = ", ".join(f"{name}={value}" for name, value in mine.point.items())
        say(f"Trial {number} to {step.until}, {step.reason}: {named}")
        self._bring_checkpoint(number)
        worked = self._do(number, mine, step.until)
        self._keep_checkpoint(number)
        if worked.asked or self._stopping:
            self._stopping = True
            return
        self._account(number, mine, step.until, worked)
        self._reported = number
        proposals.tell(mine)

    def _do(self, number: int, mine: TrialRecord, until: int) -> Worked:
        last = 0

        def heard(at: int, value: float | None) -> None:
            nonlocal last
            if at < last:
                say(f"Trial {number}: step {at} after step {last} is not counted")
                return
            last = at
            if at >= 1 and at not in mine.metrics:
                self._add(kind="metric", trial=number, at=at, value=value)

        environment = {
            **{name: as_text(value) for name, value in mine.point.items()},
            "MLBROKER_TRIAL": str(number),
            "MLBROKER_RESOURCE": str(until),
        }
        folder = self._checkpoints()
        if folder is not None:
            environment["MLBROKER_CHECKPOINT_DIR"] = str(folder)
        work = Work(self.terms["command"], self.terms["workdir"], environment, until,
                    until >= self.state.study.most, self.state.study.regex)  # fmt: skip
        return work.to_its_end(heard, lambda: self._stopping)

    def _account(self, number: int, mine: TrialRecord, until: int, worked: Worked) -> None:
        """Write down how the work ended."""
        seconds = round(worked.seconds, 3)
        told = {"trial": number, "seconds": seconds}
        most = self.state.study.most
        if worked.code:
            why = f"exit code {worked.code}" if worked.code > 0 else f"signal {-worked.code}"
            self._add(kind="failed", until=max(mine.trial.reached, 1), why=why, **told)
        elif not mine.metrics:
            study = self.state.study
            sought = "`::mlbroker metric=… at=…`" if study.regex is None else "of tune.regex"
            why = f"no line {sought} told {study.metric}"
            self._add(kind="failed", until=max(mine.trial.reached, 1), why=why, **told)
        else:
            # One that ended by itself before its time has no further steps to give.
            ended_early = worked.code == 0 and max(mine.metrics) < until
            self._add(kind="worked", until=most if ended_early else until, **told)
        if mine.failed:
            say(f"Trial {number} failed: {mine.failed}")

    def _checkpoints(self) -> Path | None:
        path = self.terms.get("checkpoint")
        return Path(self.terms["workdir"], path) if path else None

    def _put_away_what_was_left(self) -> None:
        """A lane that was killed left its trial's checkpoint where the job saves it."""
        for number, mine in enumerate(self.state.trials):
            if mine.working_until is not None:
                self._keep_checkpoint(number)

    def _bring_checkpoint(self, number: int) -> None:
        folder, kept = self._checkpoints(), self.folder.checkpoint(number)
        if folder is None:
            return
        if kept.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(kept, folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)

    def _keep_checkpoint(self, number: int) -> None:
        folder, kept = self._checkpoints(), self.folder.checkpoint(number)
        if folder is None or not folder.is_dir():
            return
        kept.parent.mkdir(parents=True, exist_ok=True)
        if kept.exists():
            shutil.rmtree(kept)
        shutil.move(folder, kept)


def _score(each: TrialRecord) -> float:
    return each.trial.score


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
