"""A trial of remedies as a document: schema `mlbroker.try/1` (see `mlbroker schema try`)."""

from typing import Any

from mlbroker.broker.evidence.tries import Kept
from mlbroker.broker.try_words import proven_words
from mlbroker.broker.words import exact_usd_or_none, utc_second
from mlbroker.policies.advice.proven import Worth
from mlbroker.profiles.job import Job
from mlbroker.profiles.trying import CONFIDENCE, Arm, Saving, Trial, as_remedies

SCHEMA = "mlbroker.try/1"


def try_document(kept: Kept, job: Job, worth: Worth | None) -> dict[str, Any]:
    """All that was tried; money as decimal strings, null for what is unknown."""
    trial = kept.trial
    return {
        "schema": SCHEMA,
        "at": utc_second(kept.at),
        "job": {"name": job.name, "fingerprint": job.fingerprint()},
        "config": trial.config,
        "rounds": len(trial.base_s),
        "steps_per_round": trial.steps,
        "rows_per_step": trial.rows,
        "confidence": CONFIDENCE,
        "as_it_is": _times(trial.base_s, trial),
        "tried": [_arm(arm, trial) for arm in trial.arms],
        "proven": proven_document(kept, job, worth),
    }


def proven_document(kept: Kept, job: Job, worth: Worth | None) -> dict[str, Any] | None:
    """What is claimed of the best of them; None where nothing is."""
    best, runs = kept.trial.best, job.runs_per_month
    if best is None or best.of_step is None:
        return None
    least = None if worth is None else worth.least
    remedies = as_remedies(best.remedies)
    nlp = {"trim": remedies.trim, "group": remedies.group}
    return {
        "remedies": best.remedies,
        "at": utc_second(kept.at),
        "config": kept.trial.config,
        "of_step": best.of_step._asdict(),
        "of_run": best.of_run and best.of_run._asdict(),
        "usd_per_run": exact_usd_or_none(least),
        "usd_per_month": exact_usd_or_none(None if least is None or not runs else least * runs),
        "nlp": nlp if remedies else None,
        "text": proven_words(best, job, worth, kept.at),
    }


def _arm(arm: Arm, trial: Trial) -> dict[str, Any]:
    def told(saved: Saving | None) -> dict[str, float] | None:
        return None if saved is None else saved._asdict()

    return {
        "remedies": arm.remedies,
        "status": "proven" if arm.proven else "withdrawn",
        "reason": arm.withdrawn,
        "losses": arm.losses,
        "of_step": told(arm.of_step),
        "of_run": told(arm.of_run),
        "lengths_by": arm.lengths,
        **_times(arm.step_s, trial),
    }


def _times(step_s: tuple[float, ...], trial: Trial) -> dict[str, Any]:
    mean = sum(step_s) / len(step_s) if step_s else None
    each = None if mean is None or trial.rows is None else mean / trial.rows
    return {"step_s": list(step_s), "mean_step_s": mean, "mean_example_s": each}
