"""For which work a burstable machine will do: what its launch credits cover, at full speed."""

from mlbroker.pricing.offer import InstanceType
from mlbroker.pricing.vendors import vendor


def credits_run_out(kind: InstanceType, sure_s: float) -> str | None:
    """Why a burstable machine will not do for `sure_s` of work; None where it does.

    A measurement on that very type is no answer: a short one runs on credits.
    """
    if not kind.hardware.burstable or vendor(kind.cloud).own:
        return None
    credits = vendor(kind.cloud).credits(kind.name)
    if credits is None:
        return "it is burstable, and how long its credits last is not known"
    if sure_s <= credits.full_speed_s:
        return None
    then = f"it runs at {100 * credits.baseline:g} %"
    if not credits.at_launch:
        return f"it starts without credits: {then}"
    return f"its credits last {credits.full_speed_s / 60:.0f} min; then {then}"


def on_credits(cloud: str, instance_type: str) -> str:
    """What to add to the evidence of a quote on a burstable machine."""
    credits = vendor(cloud).credits(instance_type)
    return f"; on credits that last {credits.full_speed_s / 60:.0f} min" if credits else ""
