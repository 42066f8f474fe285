"""What a measurement saw of the gradient noise, for the document and for people."""

from collections.abc import Sequence
from typing import Any

from mlbroker.broker.words import figure
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.noise_seen import NoiseSeen, misfits, noise_of, why_unknown

# The batches whose worth is told, in the one that was measured.
_TIMES = (0.5, 2, 4, 8)


def noise_document(row: Measurement) -> dict[str, Any] | None:
    """φ in samples, and a sample's worth at other batches; None where nothing was looked at."""
    seen, why = noise_of(row.extra, row.batch_size), why_unknown(row.extra)
    if seen is None:
        return None if why is None else {"samples": None, "unknown": why}
    return {
        "samples": seen.noise,
        "sigma_log": seen.sigma_log,
        "batch_size": seen.batch,
        "by": "job" if seen.told_by_job else "gradients",
        "unknown": None,
        "efficiency": [
            {"batch_size": batch, "of_a_sample": worth} for batch, worth in _worths(seen)
        ],
    }


def noise_words(row: Measurement, most: int | None) -> str | None:
    """The same in a sentence or two, of batches up to the job's ceiling where it has one."""
    seen, why = noise_of(row.extra, row.batch_size), why_unknown(row.extra)
    if seen is None:
        return None if why is None else f"How far a larger batch helps is not known: {why}."
    by = ", as the job tells" if seen.told_by_job else ""
    text = (
        f"Gradient noise: φ = {figure(seen.noise)} samples"
        f" (± {seen.sigma_log:.0%}) at batch {figure(seen.batch)}{by}."
    )
    worths = ", ".join(
        f"{worth:.0%} at {figure(batch)}"
        for batch, worth in _worths(seen)
        if most is None or batch <= most
    )
    told = [f"A sample is worth {worths} of one there."] if worths else []
    return " ".join([text, *told, *misfits(row.extra)])


def _worths(seen: NoiseSeen) -> Sequence[tuple[float, float]]:
    from mlbroker.profiles.noise import efficiency

    batches = [seen.batch * times for times in _TIMES]
    return [(batch, float(efficiency(seen.noise, seen.batch, batch))) for batch in batches]
