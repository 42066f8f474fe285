"""Whether a study's money pays for one whole trial, and the least that would."""

import math
from decimal import Decimal
from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.own_quote import own_quote
from mlbroker.broker.app.run import PreparedRun
from mlbroker.broker.app.sources import evidence_of
from mlbroker.broker.app.tune_lanes import LanePlan
from mlbroker.broker.clouds import opener
from mlbroker.broker.errors import NothingFeasible
from mlbroker.broker.tuning.deciding import PAYS_FOR_NO_MORE
from mlbroker.broker.tuning.lane import LIFETIME, MARGIN_S, MARGIN_SHARE
from mlbroker.broker.tuning.record import StudyFolder, StudyState
from mlbroker.broker.words import duration, exact_usd
from mlbroker.policies.tuning.budget import Pace, best_trial
from mlbroker.profiles.job import Job


def whole_trial_s(job: Job, run: PreparedRun, state: Path, listener: Listener) -> float | None:
    """Seconds of a whole trial of `job` on the run's first machine, set-up left out.

    As it was stated or measured there, else as earlier studies of the same job had it; None where
    neither is known.
    """
    evidence = evidence_of(job, state, None, listener)
    if evidence.measurements or job.takes is not None:
        _, quote = own_quote(run.options[0], evidence, state, run.request.sources.nodes, run.now)
        if quote.command_s is not None:
            return quote.command_s[1]
    home = state / "studies"
    assert job.study is not None
    for path in sorted(home.iterdir()) if home.is_dir() else []:
        folder = StudyFolder(path)
        if folder.exists and folder.terms().get("fingerprint") == job.fingerprint():
            step_s = _pace(folder.load()).of(None)
            if step_s is not None:
                return step_s * job.study.most
    return None


def rest_of_best_s(folder: StudyFolder) -> float | None:
    """Seconds that the best trial still needs to be whole; None where that is not known.

    Without a checkpoint it begins anew.
    """
    found = folder.load()
    best = best_trial([each.trial for each in found.trials])
    step_s = _pace(found).of(best)
    if step_s is None:
        return None
    kept = best is not None and folder.terms()["checkpoint"] is not None
    reached = found.trials[best].trial.reached if kept and best is not None else 0
    return (found.study.most - reached) * step_s


def refuse_too_little(plan: LanePlan, needed_s: float | None, state: Path, what: str) -> None:
    """NothingFeasible, with the least budget that would do, where `what` outlasts a lane.

    What is not known refuses nothing.
    """
    run, life_s = plan.lanes[0], float(plan.lanes[0].request.job.envs[LIFETIME])
    if needed_s is None or needed_s <= life_s - min(MARGIN_S, life_s * MARGIN_SHARE):
        return
    least_s = _life_for_s(needed_s)
    hint = "A later --deadline."
    if least_s > run.worst.lifetime_s:
        least = _least_usd(plan, least_s, state)
        hint = f"At least --budget {exact_usd(least)}, and more for set-up."
    each = exact_usd(run.cap_usd)
    took = f"{what} takes about {duration(needed_s)}, and {each} USD{_a_lane(plan)} pay for"
    raise NothingFeasible(f"{took} {duration(life_s)}", where=str(run.request.job_path), hint=hint)


def refuse_none_whole(plan: LanePlan, folder: StudyFolder, state: Path) -> None:
    """NothingFeasible where the money ran out before any trial was whole."""
    found = folder.load()
    rest_s = rest_of_best_s(folder)
    whole = any(each.trial.reached >= found.study.most and not each.failed for each in found.trials)
    if whole or rest_s is None or found.ended != PAYS_FOR_NO_MORE:
        return
    least = _least_usd(plan, _life_for_s(rest_s), state)
    raise NothingFeasible(
        f"the money paid for no whole trial of {found.study.most} x {found.study.resource}",
        hint=f"The rest of the best takes about {duration(rest_s)}: mlbroker tune resume "
        f"{folder.path.name} --budget {exact_usd(least)}, and more for set-up.",
    )


def _pace(found: StudyState) -> Pace:
    return Pace([each.step_s for each in found.trials], 0.0)


def _life_for_s(needed_s: float) -> float:
    """The shortest life of a run in which so much work is begun."""
    return min(needed_s / (1 - MARGIN_SHARE), needed_s + MARGIN_S)


def _a_lane(plan: LanePlan) -> str:
    return " a lane" if len(plan.lanes) > 1 else ""


def _least_usd(plan: LanePlan, life_s: float, state: Path) -> Decimal:
    """The least cap under which lanes have such a life; billing only grows with time."""
    run = plan.lanes[0]
    option = run.options[0]
    traits = opener(state)(option.cloud).traits
    step = max(1, traits.lifetime_step_s)
    whole_s = math.ceil(life_s / step) * step
    slack = Decimal(str(traits.kill_slack_s + run.request.guest_late_s))
    return option.dearest.charge_usd(whole_s + slack) * len(plan.lanes)
