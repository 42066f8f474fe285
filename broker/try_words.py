"""What a trial of remedies found, in sentences."""

from datetime import datetime

from mlbroker.broker.words import figure, money
from mlbroker.policies.advice.proven import Worth
from mlbroker.profiles.job import Job
from mlbroker.profiles.trying import Arm, Trial, as_remedies


def trial_lines(trial: Trial, job: Job, worth: Worth | None, path: str) -> list[str]:
    """All of it: each arm, and what to write into the job file."""
    base = sum(trial.base_s) / len(trial.base_s) if trial.base_s else None
    lines = []
    if base is not None:
        lines.append(f"As it is, on {trial.config}: {_time_words(base, trial)}.")
    lines += [arm_words(arm, trial) for arm in trial.arms]
    best = trial.best
    if best is None:
        return [*lines, "Nothing is proven: the job is best left as it is."]
    lines.append(proven_words(best, job, worth))
    if worth is None or worth.seen is None:
        lines.append(f"What that is in USD, `mlbroker plan` would know: mlbroker profile {path}")
    return [*lines, *file_lines(best)]


def arm_words(arm: Arm, trial: Trial) -> str:
    """How much faster, whether losses agree, or why it is withdrawn."""
    if arm.of_step is None:
        return f"{arm.remedies}: withdrawn, {arm.withdrawn}."
    time_s = sum(arm.step_s) / len(arm.step_s)
    saved = f"saves {arm.of_step.seen:.0%} (with 90 % at least {arm.of_step.least:.0%})"
    text = f"{arm.remedies}: {_time_words(time_s, trial)}, {saved}"
    if arm.losses:
        text += f"; {arm.losses}"
    return f"{text}." if arm.withdrawn is None else f"{text}. Withdrawn: {arm.withdrawn}."


def _time_words(step_s: float, trial: Trial) -> str:
    if trial.rows is None:
        return f"{figure(step_s * 1e3)} ms a step"
    return f"{figure(step_s / trial.rows * 1e3)} ms an example, {figure(step_s * 1e3)} ms a step"


def proven_words(best: Arm, job: Job, worth: Worth | None, at: datetime | None = None) -> str:
    """What is claimed: the lower bound alone."""
    when = "" if at is None else f" on {at:%Y-%m-%d}"
    text = f"Proven{when}: {best.remedies} saves at least {_least(best)} of the steps' time"
    if worth is not None and worth.least is not None:
        text += f", {money(worth.least)} USD a run"
        if job.runs_per_month is not None:
            text += f" and {money(worth.least * job.runs_per_month)} USD a month"
    if best.lengths == "masks":
        text += "" if best.of_run else ", once its first epoch has told lengths"
    return f"{text}."


def _least(best: Arm) -> str:
    saved = best.of_run or best.of_step
    return "0 %" if saved is None else f"{saved.least:.0%}"


def file_lines(best: Arm) -> list[str]:
    """What of it a job file can ask for."""
    remedies = as_remedies(best.remedies)
    lines = []
    if remedies:
        trim = ["trim: true"] if remedies.trim else []
        group = [] if remedies.group is None else [f"group: {remedies.group}"]
        lines += ["In the job file:", "", "broker:", f"  nlp: {{{', '.join(trim + group)}}}"]
    if "bf16" in best.remedies.split(","):
        lines.append("In the script: torch.autocast with torch.bfloat16 around the model's call")
    workers = [word for word in best.remedies.split(",") if word.startswith("workers=")]
    return [*lines, *(f"In the script: num_{word} for its DataLoader" for word in workers)]
