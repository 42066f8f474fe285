"""The advice as a document: schema `mlbroker.advise/1` (see `mlbroker schema advise`)."""

from typing import Any

from mlbroker.broker.advice_words import waste_words, without_gpu_words
from mlbroker.broker.app.advise import Advised
from mlbroker.broker.measure.tokens import tokens_document
from mlbroker.broker.plan_document import quote_document
from mlbroker.broker.try_document import proven_document
from mlbroker.broker.words import exact_usd_or_none, utc_second
from mlbroker.policies.advice.steps import Waste
from mlbroker.profiles.job import Job

SCHEMA = "mlbroker.advise/1"


def advise_document(advised: Advised) -> dict[str, Any]:
    """Everything that was found; money as decimal strings, null for what is unknown."""
    made, seen = advised.planned.plan, advised.tokens
    return {
        "schema": SCHEMA,
        "generated_at": utc_second(made.generated_at),
        "job": {"name": made.job.name, "fingerprint": made.job.fingerprint()},
        "deadline_s": made.constraints.deadline_s,
        "confidence": made.constraints.confidence,
        "runs_per_month": made.job.runs_per_month,
        "choice": quote_document(made.choice),
        "without_gpu": _machines(advised),
        "tokens": None if seen is None else tokens_document(seen.row, seen.tokens),
        "step_law": None if seen is None or seen.law is None else seen.law._asdict(),
        "wastes": [_waste(item, made.job) for item in advised.wastes],
        "proven": advised.tried and proven_document(advised.tried, made.job, advised.worth),
    }


def _waste(item: Waste, job: Job) -> dict[str, Any]:
    runs = job.runs_per_month
    monthly = None if item.usd is None or runs is None else item.usd * runs
    return {
        "kind": str(item.kind),
        "share": item.share,
        "at_most": item.at_most,
        "config": item.config,
        "usd_per_run": exact_usd_or_none(item.usd),
        "usd_per_month": exact_usd_or_none(monthly),
        "every_steps": item.every,
        "extra_s": item.extra_s,
        "batches_per_step": item.batches,
        "text": waste_words(item, job),
    }


def _machines(advised: Advised) -> dict[str, Any] | None:
    found, made = advised.machines, advised.planned.plan
    if found is None:
        return None
    more, runs = found.gpu_costs_more_usd, made.job.runs_per_month
    monthly = None if more is None or runs is None else more * runs
    return {
        "verdict": str(found.verdict),
        "quote": quote_document(found.cpu),
        "gpu_quote": quote_document(found.gpu),
        "gpu_costs_more_usd": exact_usd_or_none(more),
        "gpu_costs_more_usd_per_month": exact_usd_or_none(monthly),
        "gpu_others_usd": exact_usd_or_none(found.gpu_others_usd),
        "job_asks_for_gpu": found.drops,
        "text": without_gpu_words(found, made.job, made.constraints.deadline_s),
    }
