"""When the owner of a budget wants to hear of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlertTerms:
    """`alerts:` in the policy file: at which per cent of a cap, whether at a forecast above it, and
    after how many seconds without work.
    """

    at_percent: tuple[int, ...] = (80, 100)
    forecast: bool = True
    idle_s: float = 1800.0
