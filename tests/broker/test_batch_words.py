"""What is said of batches: what another would save, what to measure, and why not more."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from mlbroker.broker.batch_words import (
    another_batch_words,
    batch_words,
    more_gpus_words,
    unknown_words,
    why_no_other_batch,
)
from mlbroker.policies.planner.batch_advice import MoreGpus
from mlbroker.policies.planner.plan import WholeAt
from mlbroker.policies.quote import Cost, Quote
from mlbroker.pricing.offer import Market
from mlbroker.profiles.batch import Batch, BatchAt
from mlbroker.profiles.batches_seen import BatchesSeen
from mlbroker.profiles.job import Checkpoint, Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Basis, Quantiles

BATCH = Batch(100, 400, total_env="B")
JOB = Job("j", "x", batch=BATCH, checkpoint=Checkpoint("c/", 600))
OWN, LARGE = BatchAt(100, 1, 1.0, 1.0), BatchAt(400, 2, 0.57, 2.286)


def quote(usd: str, hours: float, at: BatchAt | None = None) -> Quote:
    none = Decimal(0)
    return Quote(
        "aws", "eu", "m", Market.ON_DEMAND, 1, Decimal(1), date(2026, 11, 1), "s", False,
        Quantiles(1, 1, 1), Basis.MEASURED, "measured", Quantiles(hours, hours, hours),
        Cost(Decimal(usd), Decimal(usd), Decimal(usd), none, none, none), None, None, None, None,
        batch=at,
    )  # fmt: skip


def test_a_batch_in_words() -> None:
    assert batch_words(LARGE) == (
        "batch 400 in 2 passes (a sample is worth 57%, learning rate x 2.286)"
    )
    assert batch_words(OWN._replace(lr_scale=None)) == "batch 100 (a sample is worth 100%)"


@pytest.mark.parametrize(
    ("choice", "best", "said"),
    [
        (
            quote("4", 2),
            quote("3", 1),
            "Another batch would save 1.00 USD of 4.00 and 60m: m in eu",
        ),
        (quote("4", 2), quote("3", 4), "save 1.00 USD of 4.00, and take 2h00m longer: m in eu"),
        (quote("4", 2), quote("5", 1), "would save 60m, and cost 1.00 USD more: m in eu at batch"),
        (quote("4", 2), quote("4", 1), "would save 60m: m in eu at batch 400"),
        (None, quote("5", 1), "m in eu at batch 400 in 2 passes"),
    ],
)
def test_what_another_batch_would_save(choice: Quote | None, best: Quote, said: str) -> None:
    words = another_batch_words(JOB, choice, best._replace(batch=LARGE))
    assert words is not None
    assert said in words
    assert words.endswith("To have it chosen: `adapt: batch`.")
    untold = replace(JOB, batch=BATCH._replace(total_env=None), checkpoint=None)
    words = another_batch_words(untold, choice, best._replace(batch=LARGE))
    assert words is not None
    assert words.endswith("chosen: `env:` under `batch:`, a `checkpoint:`, and `adapt: batch`.")


@pytest.mark.parametrize(
    ("best", "at"),
    [(quote("3", 1), OWN), (quote("3.99", 1.99), LARGE), (quote("5", 3), LARGE)],
)
def test_what_saves_nothing_is_not_said(best: Quote, at: BatchAt) -> None:
    assert another_batch_words(JOB, quote("4", 2), best._replace(batch=at)) is None


def row(size: int | None, **extra: str) -> Measurement:
    return Measurement("j", "m", 1.0, steps=10, batch_size=size, extra=extra)


@pytest.mark.parametrize(
    ("job", "rows", "said"),
    [
        (
            JOB,
            [row(None)],
            "not known: mlbroker profile JOB; mlbroker profile JOB --batch 200,400.",
        ),
        (JOB, [row(100, noise_told="300 100")], "known: mlbroker profile JOB --batch 200,400."),
        (JOB, [row(100), row(200)], "is worth is not known: mlbroker profile JOB."),
        (JOB, [row(100, noise_looks="6"), row(200)], "JOB, for longer: its gradients were looked"),
        (
            JOB,
            [row(100, noise_unknown="several optimizers"), row(200)],
            "not known: its gradient noise is not (several optimizers).",
        ),
        (
            replace(JOB, batch=Batch(100, 150)),
            [row(100, noise_told="300 100")],
            "say under `batch: env:` by which variable the job is told.",
        ),
        (JOB, [row(100, noise_told="300 100"), row(200)], None),
        (JOB, [], None),
        (replace(JOB, batch=Batch(100, 100)), [row(100)], None),
        (replace(JOB, batch=None), [row(100)], None),
    ],
)
def test_what_to_measure(job: Job, rows: list[Measurement], said: str | None) -> None:
    words = unknown_words(job, BatchesSeen.of(job.batch or BATCH, rows))
    if said is None:
        assert words is None
    else:
        assert words is not None
        assert said in words


def at(size: int, step_s: float, whole_s: float) -> WholeAt:
    return WholeAt(BatchAt(size, 1, 100 / size, None), step_s, whole_s, Basis.MEASURED)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (
            [at(200, 1.0, 1000), at(400, 3.0, 1500)],
            "Why not larger than 200: at 400 a step takes 3x as long, a sample is worth 25%, and"
            " all of it takes 1.5x as long.",
        ),
        ([at(200, 1, 1)], "whether more fits in the machine's memory was not measured."),
        ([at(100, 1, 1)], None),
    ],
)
def test_why_not_larger(known: list[WholeAt], said: str | None) -> None:
    words = why_no_other_batch(BATCH, OWN._replace(size=200), known)
    assert words == said if said is None else said in (words or "")


def test_the_ceiling_is_a_reason() -> None:
    words = why_no_other_batch(BATCH, LARGE, [at(400, 1, 1)])
    assert words == "Why not larger than 400: the job file allows no more, `max: 400`."


def test_more_gpus_in_one_line() -> None:
    guess = quote("1", 1)._replace(basis=Basis.DATASHEET)
    found = [MoreGpus(4, "four", 3.14, 1.24, guess), MoreGpus(8, "eight", 0.5, 0.9, quote("1", 1))]
    assert more_gpus_words(found) == (
        "Why not more GPUs: 4 GPUs (four, by data sheet): 3.1x faster, 1.2x dearer;"
        " 8 GPUs (eight): 2x slower, 1.1x cheaper."
    )
