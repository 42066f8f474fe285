"""Tries remedies on the real job: short measurements in turn, with each and without."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.errors import InputError, JobFailed
from mlbroker.broker.evidence.hardware import local_config
from mlbroker.broker.measure.agent_link import start_here
from mlbroker.broker.measure.profile import agent_spec
from mlbroker.broker.measure.result import failure_reason
from mlbroker.broker.measure.watch import Observation, watch
from mlbroker.broker.runs.launch import secret_values
from mlbroker.profiles.job import NLP_VARIABLE, Job, TextRemedies
from mlbroker.profiles.stepping.stopping import StopRule
from mlbroker.profiles.stepping.stream import StepSeries
from mlbroker.profiles.trying import (
    BF16_LOSS,
    BF16_ROUNDING,
    SAME_LOSS,
    Arm,
    Saving,
    Trial,
    largest_difference,
    losses_of,
    mean_losses,
    of_run,
    saving,
)

TRY_STEPS, TRY_CHECK = "MLBROKER_TRY_STEPS", "MLBROKER_TRY_CHECK"
# Of each arm: the first steps are not timed, and what follows takes so long and so many steps.
WARM_UP = 5
LEAST_STEPS = 20
WANTED_STEPS = 60
WANTED_S = 6.0
# Losses that are compared one by one. More, and rounding grows with the learning.
CHECKED_STEPS = 6
LEAST_ROUNDS, MOST_ROUNDS = 3, 12
# So well known is well enough: the claim is within five points of the whole run.
NARROW = 0.025
# So many times as slow in its first round: the others would take the time for nothing.
HOPELESS = 2.0
# What is left of the time when all rounds are planned, as runs differ.
RESERVE = 0.85
PILOT_S = 4.0

Show = Callable[[Observation], None]
Note = Callable[[str], None]


@dataclass(slots=True)
class _Tried:
    """The rounds of one arm."""

    remedies: str
    step_s: list[float] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)
    notes: Mapping[str, str] = field(default_factory=dict)
    agreed: str | None = None
    withdrawn: str | None = None


class _Check(NamedTuple):
    """What a remedy's losses are held to: differences up to `most` are `within` what it does, and
    more is `beyond`. `idle`: it found nothing to do.
    """

    most: float
    idle: str
    within: str
    beyond: str


_CHECKED: Mapping[str, _Check] = {
    "trim": _Check(
        SAME_LOSS, "nothing was there to cut in its first batches", "", "the model looks at padding"
    ),
    "bf16": _Check(
        BF16_LOSS,
        "no model was called",
        "they are not equal, as bfloat16 rounds by up to 0.4 %",
        "more than rounding to bfloat16 does by itself",
    ),
}


def _names(arm: _Tried) -> list[str]:
    return arm.remedies.split(",")


class Trying:
    """A trial of `remedies`, each on top of those before it, within the job's `max_time_s`."""

    def __init__(self, job: Job, remedies: Sequence[str], show: Show, note: Note) -> None:
        self._job = replace(job, nlp=TextRemedies())
        self._show = show
        self._note = note
        self._end = time.monotonic() + job.profile.max_time_s
        self._base = _Tried("")
        self._arms = [_Tried(",".join(remedies[: n + 1])) for n in range(len(remedies))]
        self._last: Observation | None = None

    def run(self) -> Trial:
        """Try them all. InputError where nothing can be compared, JobFailed where the job fails."""
        self._refuse_kept_state()
        steps = self._plan_steps(self._pilot())
        self._check()
        rounds = 0
        while rounds < MOST_ROUNDS and self._going():
            began = time.monotonic()
            try:
                self._round(steps, backwards=rounds % 2 == 1)
            except InputError:
                if rounds < LEAST_ROUNDS:
                    raise
                for arm in (self._base, *self._arms):  # it did not fit in: as if it had not begun
                    del arm.step_s[rounds:], arm.losses[rounds:]
                break
            rounds += 1
            self._note(f"Round {rounds}: {self._words()}")
            left_s = self._end - time.monotonic()
            if rounds >= LEAST_ROUNDS and self._narrow():
                break
            if left_s < 1.2 * (time.monotonic() - began):
                break
        if self._going() and rounds < LEAST_ROUNDS:
            raise InputError(
                f"only {rounds} of {LEAST_ROUNDS} rounds fit into the time",
                where=self._job.name,
                hint=f"give it more: --max-time {math.ceil(self._job.profile.max_time_s / 30)}m",
            )
        return self._result(steps)

    def _round(self, steps: int, *, backwards: bool) -> None:
        """Each arm once, every other time in the other order."""
        arms = [self._base, *self._going()]
        for arm in reversed(arms) if backwards else arms:
            self._time(arm, steps)

    def _going(self) -> list[_Tried]:
        return [arm for arm in self._arms if arm.withdrawn is None]

    def _refuse_kept_state(self) -> None:
        kept = self._job.checkpoint
        if kept is None or self._job.workdir is None:
            return
        folder = Path(self._job.workdir, kept.path)
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(
                "it is not empty: a job that resumes from it does not start alike twice",
                where=str(folder),
                hint="move what is in it elsewhere, and try again",
            )

    def _pilot(self) -> tuple[float, float]:
        """Seconds until the first step, and of a step; after the set-up, which is made once."""
        rule = StopRule(half_width=10.0, patience_s=PILOT_S)
        seen = self._start("", rule, 0)
        self._job = replace(self._job, setup=None)
        series = self._series(seen)
        return series.times_s[0] + 1.0, _step_s(series, self._job.name)

    def _plan_steps(self, pilot: tuple[float, float]) -> int:
        start_s, step_s = pilot
        left_s = RESERVE * (self._end - time.monotonic()) - 3 * start_s
        budget = (left_s / ((1 + len(self._arms)) * LEAST_ROUNDS) - start_s) / step_s
        # Steps of a window of like lengths differ: whole windows are alike in every arm.
        windows = [w for arm in self._arms for w in arm.remedies.split(",") if w[:6] == "group="]
        window = int(windows[0][6:]) if windows else 1
        wanted = math.ceil(max(WANTED_STEPS, WANTED_S / step_s) / window) * window
        steps = min(wanted, int(budget) - WARM_UP)
        if steps >= window:
            steps -= steps % window
        if steps < LEAST_STEPS:
            raise InputError(
                f"a step takes {step_s:.3g} s, and the job {start_s:.0f} s to begin: too slow to "
                f"be tried in {self._job.profile.max_time_s:g} s",
                where=self._job.name,
                hint="give it more: --max-time",
            )
        return steps

    def _check(self) -> None:
        """What leaves what is computed as it is, or rounds it, must do no more to a loss."""
        asked = [name for name in _CHECKED if any(name in _names(arm) for arm in self._arms)]
        if not asked:
            return
        rule = StopRule(half_width=0.0, max_steps=CHECKED_STEPS)
        base = self._start("", rule, CHECKED_STEPS, check=True)
        for name in asked:
            other = self._start(name, rule, CHECKED_STEPS, check=True, may_fail=True)
            agreed, why = self._compared(name, base, other, rule)
            for arm in self._arms:
                if name in _names(arm) and why is None:
                    arm.agreed = agreed if arm.agreed is None else f"{arm.agreed}; {agreed}"
                elif _names(arm)[-1] == name:
                    self._withdraw(arm, str(why))

    def _compared(
        self, name: str, base: Observation, other: Observation, rule: StopRule
    ) -> tuple[str | None, str | None]:
        """In which words losses agree, or why it is withdrawn."""
        if failure := failure_reason(other):
            return None, f"the job fails with it: {failure}"
        told, check = other.notes.get(f"nlp_{name}"), _CHECKED[name]
        if told != "on":
            return None, told or check.idle
        ours = losses_of(base.notes)
        gap = largest_difference(ours, losses_of(other.notes))
        if gap is None:
            return None, "no loss was seen (no call of backward on one), so none can be compared"
        if gap <= SAME_LOSS:
            return f"losses agree to {max(gap, 1e-9):.1g} without dropout", None
        again = losses_of(self._start("", rule, CHECKED_STEPS, check=True).notes)
        own = largest_difference(ours, again) or 0.0
        if own > SAME_LOSS:
            return None, f"the job's own losses differ by {own:.1g} from start to start"
        words = f"losses differ by {gap:.1g} without dropout"
        if gap <= check.most:
            return f"{words}, not more than {check.most:.1g}: {check.within}", None
        return None, f"{words}: {check.beyond}"

    def _withdraw(self, arm: _Tried, why: str) -> None:
        """Those after it that did not begin yet are tried without its last remedy."""
        arm.withdrawn = why
        name = _names(arm)[-1]
        for other in self._arms:
            if other is not arm and not other.step_s:
                other.remedies = ",".join(word for word in _names(other) if word != name)

    def _time(self, arm: _Tried, steps: int) -> None:
        rule = StopRule(half_width=0.0, max_steps=WARM_UP + steps)
        seen = self._start(arm.remedies, rule, WARM_UP + steps, may_fail=arm is not self._base)
        if failure := failure_reason(seen):
            self._withdraw(arm, f"the job fails with it: {failure}")
            return
        arm.notes = seen.notes
        for name in arm.remedies.split(",") if arm.remedies else ():
            told = seen.notes.get(f"nlp_{name.partition('=')[0]}", "off: nothing was to be done")
            if not told.startswith("on"):
                self._withdraw(arm, f"{name.partition('=')[0]} is {told}")
                return
        step_s = _step_s(self._series(seen), self._job.name)
        if not arm.step_s and arm is not self._base and step_s > HOPELESS * self._base.step_s[0]:
            base_s = self._base.step_s[0]
            self._withdraw(
                arm, f"it is slower: {step_s * 1e3:.3g} ms a step for {base_s * 1e3:.3g}"
            )
            return
        arm.step_s.append(step_s)
        arm.losses.append(losses_of(seen.notes))

    def _start(
        self, remedies: str, rule: StopRule, steps: int, check: bool = False, may_fail: bool = False
    ) -> Observation:
        """One start of the job, until it has made its steps."""
        limit_s = self._end - time.monotonic()
        if limit_s <= 1.0:
            raise InputError("the time is used up", where=self._job.name, hint="--max-time")
        spec = agent_spec(self._job, limit_s)
        told = {NLP_VARIABLE: remedies, TRY_STEPS: str(steps), TRY_CHECK: "1" if check else ""}
        wishes = {name: value for name, value in told.items() if value not in ("", "0")}
        spec["env"] = {**spec["env"], **secret_values(self._job), **wishes}
        spec["bandwidth_s"] = 0.0
        link = start_here(spec)
        try:
            seen = watch(self._job, link, rule, self._show)
        finally:
            link.close()
        failure = failure_reason(seen)
        if failure and not may_fail:
            raise JobFailed(failure, where=self._job.name)
        self._last = seen
        return seen

    def _series(self, seen: Observation) -> StepSeries:
        if seen.series is None or seen.series.steps < LEAST_STEPS // 2:
            raise InputError(
                "too few steps were counted to compare", where=self._job.name,
                hint="`mlbroker profile JOB` says who counts, and what to do",
            )  # fmt: skip
        return seen.series

    def _narrow(self) -> bool:
        found = [saving(self._base.step_s, arm.step_s) for arm in self._going()]
        return all(one.seen - one.least <= NARROW for one in found)

    def _words(self) -> str:
        base = self._base.step_s[-1]
        told = [f"{1 - arm.step_s[-1] / base:+.0%} by {arm.remedies}" for arm in self._going()]
        return f"{base * 1e3:.3g} ms a step; saved {', '.join(told) or 'nothing'}"

    def _result(self, steps: int) -> Trial:
        arms: list[Arm] = []
        for arm in self._arms:
            ungrouped = [before for before in arms if "group=" not in before.remedies]
            arms.append(self._judged(arm, ungrouped[-1] if ungrouped else None))
        vcpus = 0 if self._last is None else self._last.machine["vcpus"]
        rows = self._base.notes.get("batch_size", "")
        each = self._base.notes.get("batches_per_step", "1")
        known = rows.isdigit() and each.isdigit()
        return Trial(
            local_config(vcpus),
            steps,
            tuple(self._base.step_s),
            int(rows) * int(each) if known else None,
            tuple(arms),
        )

    def _judged(self, arm: _Tried, before: Arm | None) -> Arm:
        last = arm.remedies.rpartition(",")[2]
        if arm.withdrawn is not None or len(arm.step_s) < LEAST_ROUNDS:
            short = arm.withdrawn or "too few rounds"
            return Arm(arm.remedies, tuple(arm.step_s), None, None, arm.agreed, short)
        step = saving(self._base.step_s, arm.step_s)
        words = arm.agreed
        why: str | None = None
        if last != "trim":
            most = BF16_ROUNDING if "bf16" in _names(arm) else SAME_LOSS
            means, same = mean_losses(self._base.losses, arm.losses, most)
            words = means if words is None else f"{words}; {means}"
            why = None if same else f"losses disagree: {means}"
        if why is None and step.least <= 0:
            why = "it is not surely faster"
        lengths = None
        whole: Saving | None = step
        if "group=" in arm.remedies:
            lengths = "masks" if "masks" in arm.notes.get("nlp_group", "") else "column"
            if lengths == "masks":
                without = before.of_step if before and before.of_step else Saving(0.0, 0.0)
                whole = of_run(step, without, self._epochs(arm))
        return Arm(arm.remedies, tuple(arm.step_s), step, whole, words, why, lengths)

    def _epochs(self, arm: _Tried) -> float | None:
        """Of the whole job."""
        batches, each = arm.notes.get("nlp_epoch_batches", ""), arm.notes.get("batches_per_step")
        if self._job.work is None or not batches.isdigit() or not int(batches):
            return None
        return self._job.work.steps * int(each or 1) / int(batches)


def _step_s(series: StepSeries, job: str) -> float:
    """Mean seconds of a step after the warm-up."""
    first = next(
        (i for i, done in enumerate(series.counts) if done >= series.counts[0] + WARM_UP), None
    )
    if first is None or first == len(series.counts) - 1:
        raise InputError("too few steps were counted to compare", where=job)
    made = series.counts[-1] - series.counts[first]
    return (series.times_s[-1] - series.times_s[first]) / made
