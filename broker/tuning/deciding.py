"""What a study does next by its record, whoever does it; and what a trial's work came to."""

from typing import Any

from mlbroker.broker.tuning.proposals import Proposals
from mlbroker.broker.tuning.record import StudyState, TrialRecord
from mlbroker.policies.tuning import POLICIES
from mlbroker.policies.tuning.budget import Pace, within
from mlbroker.policies.tuning.interface import FAILED, State, Step

FAILURES_ALONE = 5
ALL_TRIED = "all that there is to try was tried"
PAYS_FOR_NO_MORE = "what is left of the budget pays for no more"
POLICY = "auto"


def why_done(state: StudyState, patience: int | None) -> str | None:
    """Why the study is over, whatever money is left; None: it is not."""
    study, trials = state.study, state.trials
    if only_failures(state):
        last = next(each for each in reversed(trials) if each.failed or each.trial.reached)
        why = last.failed or f"it told no number of {study.metric}"
        return f"the first {FAILURES_ALONE} trials failed, the last of them: {why}"
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
    return len(done) >= FAILURES_ALONE and all(each.trial.score == FAILED for each in done)


def next_step(
    state: StudyState, proposals: Proposals, reported: int | None, left_s: float, anew: bool
) -> Step | None:
    """What was interrupted, else what the policy wants, if `left_s` pays for it; the budget may
    finish the best instead. `anew`: for want of checkpoints trials begin from the first step.
    """
    study, trials = state.study, state.trials
    if left_s <= 0:
        return None
    seen = _seen(state, proposals, reported)
    pace = Pace([each.step_s for each in trials], left_s, anew)
    for number, mine in enumerate(trials):
        if mine.working_until is not None and not mine.trial.busy:
            again = Step(number, mine.working_until, "as it was interrupted")
            if (found := within(seen, again, pace)) is not None:
                return found
    step = within(seen, POLICIES[POLICY]().decide(seen), pace)
    if step is None or seen.may_start or step.until < study.most or step.trial is None:
        return step
    # Nothing new is left, and a better one is on its way to the end.
    best = max((_score(each) for each in trials if each.working_until == study.most), default=None)
    return step if best is None or _score(trials[step.trial]) > best else None


def why_no_more(state: StudyState, proposals: Proposals) -> str:
    """Why a study is over of which `next_step` says nothing, and on which nobody works."""
    wanted = POLICIES[POLICY]().decide(_seen(state, proposals, None))
    return ALL_TRIED if wanted is None else PAYS_FOR_NO_MORE


def _seen(state: StudyState, proposals: Proposals, reported: int | None) -> State:
    study, trials = state.study, [each.trial for each in state.trials]
    may_start = proposals.more and (study.trials is None or len(trials) < study.trials)
    return State(trials, study.most, reported, may_start, proposals.warm)


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
