"""What proven remedies save of a run, in US dollars."""

from decimal import Decimal
from typing import NamedTuple

from mlbroker.policies.advice.steps import usd_of
from mlbroker.policies.quote import Quote
from mlbroker.profiles.trying import Arm, Saving


class Worth(NamedTuple):
    """US dollars a run: as seen, and at least. None where the price of a run is unknown."""

    seen: Decimal | None
    least: Decimal | None


def worth(arm: Arm, quote: Quote | None, overhead_s: float) -> Worth:
    """On this quote's machine, whose run has so many seconds beside its steps. Shares are as they
    were measured, wherever that was.
    """
    saved = arm.of_run
    if saved is None or quote is None or quote.command_s is None:
        return Worth(None, None)
    in_steps = max(0.0, 1 - overhead_s / quote.command_s.p50) if quote.command_s.p50 > 0 else 0.0
    return Worth(*(usd_of(share * in_steps, quote) for share in Saving(*saved)))
