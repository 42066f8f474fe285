"""Command-line flags that override a job file's values."""

from dataclasses import replace
from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_batch import adapt_flag
from mlbroker.broker.files.job_broker import parse_objective, parse_spot_policy
from mlbroker.broker.files.values import (
    parse_confidence,
    parse_deadline,
    parse_money_usd,
    parse_number,
    parse_option,
    parse_takes,
)
from mlbroker.profiles.job import Job, Objective, ObjectiveKind, Work


def override(
    job: Job,
    *,
    deadline: str | None = None,
    budget: str | None = None,
    confidence: str | None = None,
    objective: str | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    takes: str | None = None,
    spot_policy: str | None = None,
    adapt: str | None = None,
) -> Job:
    """`job` with the given flags in place of the file's values; None leaves a value alone.

    Raises InputError that names the flag.
    """
    changes = {
        "deadline": parse_option("--deadline", deadline, parse_deadline),
        "budget_usd": parse_option("--budget", budget, parse_money_usd),
        "confidence": parse_option("--confidence", confidence, parse_confidence),
        "objective": parse_option("--objective", objective, parse_objective_flag),
        "work": _work(steps, epochs, steps_per_epoch),
        "takes": parse_option("--takes", takes, parse_takes),
        "spot_policy": parse_option("--spot-policy", spot_policy, parse_spot_policy),
        "adapt": adapt_flag(job, adapt),
    }
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return replace(job, **given)


def parse_objective_flag(text: str) -> Objective:
    """An objective's name as in the job file, or a price on carbon: `0.1/kg` (USD per kg CO2e)."""
    if text.endswith("/kg"):
        return Objective(ObjectiveKind.WEIGHTED, parse_number(text.removesuffix("/kg")))
    try:
        return parse_objective(text)
    except InputError as error:
        hint = f"{error.hint}, or a price on carbon such as 0.1/kg (USD per kg CO2e)"
        raise InputError(error.what, hint=hint) from None


def _work(steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> Work | None:
    for name, value in (
        ("--steps", steps),
        ("--epochs", epochs),
        ("--steps-per-epoch", steps_per_epoch),
    ):
        if value is not None and value <= 0:
            raise InputError(f"{value} is not a positive number", where=name)
    if steps is not None:
        if epochs is not None or steps_per_epoch is not None:
            raise InputError("give either --steps, or --epochs and --steps-per-epoch")
        return Work(steps)
    if (epochs is None) != (steps_per_epoch is None):
        raise InputError("--epochs and --steps-per-epoch go together")
    if epochs is None or steps_per_epoch is None:
        return None
    return Work(epochs * steps_per_epoch, epochs, steps_per_epoch)
