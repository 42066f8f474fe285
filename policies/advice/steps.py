"""What a job's steps spend on nothing: padding, waiting for data, work that comes back too often,
batches smaller than they need be.

Shares are of the job's own time, as measured. What they cost is reckoned on one quote.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from mlbroker.policies.quote import Quote
from mlbroker.pricing.billing import MICRO_USD
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.tokens import StepLaw, Tokens, step_law, tokens_of

# Less than this of the job's time is not worth a sentence.
WORTH_TELLING = 0.05
# What comes back within this share of the time that the job file says is its checkpoint.
SAME_INTERVAL = 0.25


class Kind(StrEnum):
    """What is wasted. The names are part of the machine-readable contract."""

    PADDING = "padding"
    DATA_WAIT = "data_wait"
    CHECKPOINT = "checkpoint"
    PERIODIC = "periodic"
    ACCUMULATION = "accumulation"


@dataclass(frozen=True, slots=True)
class Waste:
    """`share` of the time goes into it, at most where `at_most`: how much of it can be saved is
    unknown until it is tried. `usd` is of a run. Periodic work comes `every` so many steps and
    takes `extra_s` each time. Accumulated are the gradients of so many `batches` a step.
    """

    kind: Kind
    share: float
    at_most: bool
    config: str
    usd: Decimal | None = None
    every: int | None = None
    extra_s: float | None = None
    batches: int | None = None


@dataclass(frozen=True, slots=True)
class StepsSeen:
    """The measurement that tells of tokens, what it tells, and the law of its steps."""

    row: Measurement
    tokens: Tokens
    law: StepLaw | None


def tokens_seen(rows: Sequence[Measurement]) -> StepsSeen | None:
    """The latest measurement on a whole machine that tells of tokens."""
    for row in reversed(_whole(rows)):
        tokens = tokens_of(row.extra)
        if tokens is not None:
            return StepsSeen(row, tokens, step_law(tokens.sizes))
    return None


def wastes(job: Job, rows: Sequence[Measurement], quote: Quote | None) -> list[Waste]:
    """What was seen that is worth telling, the most of it first."""
    found: list[Waste] = []
    seen = tokens_seen(rows)
    if seen is not None:
        found.append(_padding(seen))
        found += _accumulated(seen)
    whole = _whole(rows)
    if whole:
        found += _of_row(job, whole[-1])
    told = [_priced(item, quote) for item in found if item.share >= WORTH_TELLING]
    return sorted(told, key=lambda item: -item.share)


def _whole(rows: Sequence[Measurement]) -> list[Measurement]:
    return [r for r in rows if r.status is Status.OK and "limited_to_cores" not in r.extra]


def _padding(seen: StepsSeen) -> Waste:
    """Of the part of a step that grows with its size, padding takes its share of the places."""
    tokens, law = seen.tokens, seen.law
    share = tokens.padding_share
    if law is None:
        return Waste(Kind.PADDING, share, True, seen.row.config)
    return Waste(Kind.PADDING, share * (1 - _fixed_share(law, tokens)), False, seen.row.config)


def _fixed_share(law: StepLaw, tokens: Tokens) -> float:
    """Of a step's time, what it takes whatever its size is."""
    steps = sum(size.steps for size in tokens.sizes)
    mean_s = sum(size.steps * law.step_s(size.slots, size.squares) for size in tokens.sizes) / steps
    return law.fixed_s / mean_s


def _accumulated(seen: StepsSeen) -> list[Waste]:
    """One batch of the same rows would take the fixed part of a step once and not for each of its
    batches; the optimizer's own part comes once as it is, hence at most.
    """
    told = seen.row.extra.get("batches_per_step", "")
    if seen.law is None or not re.fullmatch(r"\d{1,6}", told) or int(told) < 2:
        return []
    share = (1 - 1 / int(told)) * _fixed_share(seen.law, seen.tokens)
    return [Waste(Kind.ACCUMULATION, share, True, seen.row.config, batches=int(told))]


def _of_row(job: Job, row: Measurement) -> list[Waste]:
    found = []
    waiting = _share(row.extra.get("data_wait_share"))
    if waiting is not None:
        found.append(Waste(Kind.DATA_WAIT, waiting, True, row.config))
    for every, extra_s in _periods(row.extra):
        if row.steps is None or not row.time_s > 0:
            continue
        # The step time holds its periods: they are part of what every step takes on average.
        share = min(1.0, extra_s / (every * row.time_s))
        kept_s = None if job.checkpoint is None else job.checkpoint.every_s
        is_kept = kept_s is not None and abs(every * row.time_s / kept_s - 1) <= SAME_INTERVAL
        kind = Kind.CHECKPOINT if is_kept else Kind.PERIODIC
        found.append(Waste(kind, share, True, row.config, None, every, extra_s))
    return found


def _periods(extra: Mapping[str, str]) -> list[tuple[int, float]]:
    try:
        told = json.loads(extra.get("periods", "[]"))
        pairs = [(int(period["every"]), float(period["extra_s"])) for period in told]
    except (ValueError, TypeError, KeyError, OverflowError):
        return []  # somebody else's words
    return [(every, extra_s) for every, extra_s in pairs if every > 0 and 0 < extra_s < 1e9]


def _share(text: str | None) -> float | None:
    try:
        share = float(text or "")
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None


def _priced(item: Waste, quote: Quote | None) -> Waste:
    """With what it costs a run on this machine."""
    usd = None if quote is None else usd_of(item.share, quote)
    return item if usd is None else replace(item, usd=usd)


def usd_of(share: float, quote: Quote) -> Decimal | None:
    """What this share of the command's time costs a run; None where that is unknown."""
    if quote.cost_usd is None or not quote.command_s or not quote.duration_h:
        return None
    of_run = min(1.0, quote.command_s.p50 / 3600 / quote.duration_h.p50)
    return (quote.cost_usd.compute * Decimal(f"{share * of_run:.6f}")).quantize(MICRO_USD)
