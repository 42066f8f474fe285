"""What a measurement saw of text batches, for the document and for people."""

from decimal import Decimal
from typing import Any

from mlbroker.broker.words import exact_usd_or_none, figure, money
from mlbroker.pricing.billing import MICRO_USD
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.tokens import Tokens

SAID_BY = {
    "mask": "by attention_mask",
    "pad id": "by the collator's pad id",
    "labels": "by labels of -100",
    "packed": "packed or flattened",
    "guess": "a guess: by what ends the rows",
}


def tokens_document(row: Measurement, tokens: Tokens | None) -> dict[str, Any] | None:
    """What the measurement tells of tokens, what that comes to a second and in US dollars; None
    where it tells nothing."""
    if tokens is None:
        return None
    return {
        "real": tokens.real,
        "padded": tokens.padded,
        "steps": tokens.steps,
        "by": tokens.by,
        "padding_share": tokens.padding_share,
        "labelled": tokens.labelled,
        "lengths": {str(edge): rows for edge, rows in sorted(tokens.lengths.items())},
        "real_per_s": _per_s(row, tokens),
        "usd_per_million_real": exact_usd_or_none(_usd_per_million(row, tokens)),
    }


def tokens_words(row: Measurement, tokens: Tokens | None) -> str | None:
    """The same in a sentence."""
    if tokens is None:
        return None
    text = f"Padding: {tokens.padding_share:.0%} of its batches' places ({SAID_BY[tokens.by]})"
    if tokens.labelled_share is not None:
        text += f"; {tokens.labelled_share:.0%} of the places bear a loss"
    per_s = _per_s(row, tokens)
    if per_s is not None:
        text += f"; {figure(per_s)} real tokens a second"
    usd = _usd_per_million(row, tokens)
    if usd is not None:
        text += f", {money(usd)} USD per million of them"
    return f"{text}."


def _per_s(row: Measurement, tokens: Tokens) -> float | None:
    """None where the measured time is not one step's, or nothing was real."""
    if row.status is not Status.OK or row.steps is None or not tokens.real:
        return None
    return tokens.real_per_step / row.time_s


def _usd_per_million(row: Measurement, tokens: Tokens) -> Decimal | None:
    per_s = _per_s(row, tokens)
    if per_s is None or row.price_per_hour_usd is None:
        return None
    hours = Decimal(1_000_000) / Decimal(f"{per_s:.9g}") / 3600
    return (row.price_per_hour_usd * hours).quantize(MICRO_USD)
