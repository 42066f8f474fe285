"""What a study does next by its record, whoever does it; and what a trial's work came to."""

from typing import Any

from mlbroker.broker.tuning.proposals import Proposals
from mlbroker.broker.tuning.record import StudyState, TrialRecord
from mlbroker.policies.tuning import POLICIES
from mlbroker.policies.tuning.budget import Pace, within
from mlbroker.policies.tuning.interface import State, Step

FAILURES_ALONE = 5
PAYS_FOR_NO_MORE = "what is left of the budget pays for no more"
POLICY = "auto"


def why_done(state: StudyState, patience: int | None) -> str | None:
    """Why the study is over, whatever money is left; None: it is not."""
    study, trials = state.study, state.trials
    if only_failures(state):
        last = next(each.failed for each in reversed(trials) if each.failed)
        return f"the first {FAILURES_ALONE} trials failed, the last of them: {last}"
    if patience is not None and state.stale_steps >= patience * study.most:
        return f"nothing better in {patience} whole trials' work"
    if study.trials is not None and len(trials) >= study.trials:
        whole = [each for each in trials if each.trial.reached >= study.most]
        if whole and max(trials, key=_score) in whole:
            return f"{len(trials)} trials are done, and the best is a whole one"
    return None


def only_failures(state: StudyState) -> bool:
    """Whether nothing but failures came of the first few."""
    done = [each for each in state.trials if each.failed or each.trial.reached]
    return len(done) >= FAILURES_ALONE and all(each.failed for each in done)


def next_step(
    state: StudyState, proposals: Proposals, reported: int | None, left_s: float
) -> Step | None:
    """What was interrupted, else what the policy wants, if `left_s` pays for it; the budget may
    finish the best instead.
    """
    study, trials = state.study, state.trials
    if left_s <= 0:
        return None
    may_start = proposals.more and (study.trials is None or len(trials) < study.trials)
    seen = State([each.trial for each in trials], study.most, reported, may_start, proposals.warm)
    pace = Pace([each.step_s for each in trials], left_s)
    for number, mine in enumerate(trials):
        if mine.working_until is not None and not mine.trial.busy:
            again = Step(number, mine.working_until, "as it was interrupted")
            if (found := within(seen, again, pace)) is not None:
                return found
    step = within(seen, POLICIES[POLICY]().decide(seen), pace)
    if step is None or may_start or step.until < study.most or step.trial is None:
        return step
    # Nothing new is left, and a better one is on its way to the end.
    best = max((_score(each) for each in trials if each.working_until == study.most), default=None)
    return step if best is None or _score(trials[step.trial]) > best else None


def ending(
    state: StudyState, number: int, until: int, code: int | None, seconds: float
) -> dict[str, Any]:
    """The line of a trial whose work is over; `code` is None where it was ended by us."""
    study, mine = state.study, state.trials[number]
    if code:
        why = f"exit code {code}" if code > 0 else f"signal {-code}"
        return failed(state, number, why, seconds)
    if not mine.metrics:
        sought = "`::mlbroker metric=… at=…`" if study.regex is None else "of tune.regex"
        why = f"no line {sought} told {study.metric}"
        return failed(state, number, why, seconds)
    # One that ended by itself before its time has no further steps to give.
    ended_early = code == 0 and max(mine.metrics) < until
    until = study.most if ended_early else until
    return {"kind": "worked", "trial": number, "until": until, "seconds": round(seconds, 3)}


def failed(state: StudyState, number: int, why: str, seconds: float = 0.0) -> dict[str, Any]:
    """The line of a trial that is never carried on."""
    until = max(state.trials[number].trial.reached, 1)
    seconds = round(seconds, 3)
    return {"kind": "failed", "trial": number, "until": until, "why": why, "seconds": seconds}


def _score(each: TrialRecord) -> float:
    return each.trial.score
