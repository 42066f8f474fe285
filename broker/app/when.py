"""When to start, and where: series of carbon intensity, read, placed, and held to quotes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.plan import Planned
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.intensity import read_intensity, split_place
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.plan_words import MEASURE_OR_SAY
from mlbroker.policies.candidates import Filters
from mlbroker.policies.intensity import Intensity
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.policies.when import Start, When, least_carbon, ranked, start_of
from mlbroker.pricing.grid_zones import place, places_on
from mlbroker.pricing.region import Region
from mlbroker.profiles.job import Objective, ObjectiveKind

# So many of a file's zones are named, where no region is known for them.
ZONES_TOLD = 5


def when(planned: Planned, files: Sequence[str], listener: Listener) -> When | None:
    """The starts that emit least; None for a plan without a choice, which has nothing to start.

    InputError without a deadline or a known duration, of files that cannot be read or placed, and
    of series that do not tell the same.
    """
    plan = planned.plan
    if plan.choice is None:
        return None
    if not plan.known:
        raise InputError(
            "nobody knows how long the job takes", where="--when", hint=f"{MEASURE_OR_SAY}."
        )
    deadline_s = plan.constraints.deadline_s
    if deadline_s is None:
        raise InputError(
            "without a deadline any start will do", where="--when", hint="give one: --deadline 24h"
        )
    series = _placed(planned, files, listener)
    starts, untold = [], {}
    for region, intensity in series.items():
        quotes = _quotes_in(planned, region)
        start = least_carbon(quotes, intensity, plan.generated_at, deadline_s)
        if start is not None:
            starts.append(start)
        else:
            untold[place(region)] = _why_not(intensity, quotes)
    choice, why = _of_choice(planned, {place(region): s for region, s in series.items()})
    return When(
        now=plan.generated_at,
        deadline_s=deadline_s,
        signal=next(iter(series.values())).signal,
        regions=ranked(starts),
        choice=choice,
        not_shifted=why,
        untold=untold,
    )


def _placed(planned: Planned, files: Sequence[str], listener: Listener) -> dict[Region, Intensity]:
    """The series of each region that one was given for."""
    regions = list(planned.book.regions().values())
    filters = planned.request.filters
    found: dict[Region, Intensity] = {}
    for text in files:
        named, path = split_place(text)
        every = read_intensity(path, listener.note)
        if named is None:
            placed = _by_zone(path, every, regions, listener)
            pairs = [pair for pair in placed if _admitted(pair[0], filters)]
        elif len(every) > 1:
            raise InputError(f"has {len(every)} zones, and a region is on one", where=str(path))
        else:
            pairs = [(_named(named, regions), every[0])]
        for region, series in pairs:
            if region in found:
                raise InputError(
                    f"there are two series for {place(region)}", where=str(path),
                    hint=f"the other is of {found[region].source}",
                )  # fmt: skip
            found[region] = series
    signals = sorted({series.signal for series in found.values()})
    if len(signals) > 1:
        raise InputError(
            f"{' and '.join(signals)} intensities tell different things, and are not compared",
            where="--intensity",
        )
    if not found:
        raise InputError(
            "none of the series is of a region that this plan looks at", where="--intensity",
            hint="name it: --intensity aws/us-east-1=FILE",
        )  # fmt: skip
    return found


def _named(name: str, regions: Sequence[Region]) -> Region:
    known = {place(region): region for region in regions}
    if name not in known:
        hint = nearest_hint(name, sorted(known), "write it as aws/us-east-1=FILE")
        raise InputError(f"{name!r} is not in the price book", where="--intensity", hint=hint)
    return known[name]


def _by_zone(
    path: Path, every: Sequence[Intensity], regions: Sequence[Region], listener: Listener
) -> list[tuple[Region, Intensity]]:
    """The regions that draw from each zone. Zones of none are said, as nobody guesses."""
    if every[0].zone is None:
        raise InputError(
            "the file names no zone", where=str(path),
            hint=f"name its region: --intensity aws/us-east-1={path}",
        )  # fmt: skip
    pairs, unknown = [], []
    for series in every:
        assert series.zone is not None
        names = places_on(series.zone, regions)
        pairs += [(region, series) for region in regions if place(region) in names]
        unknown += [] if names else [series.zone]
    if unknown:
        zones = ", ".join(unknown[:ZONES_TOLD]) + (" …" if len(unknown) > ZONES_TOLD else "")
        listener.warn(
            f"{path}: no region is known to draw from {zones};"
            f" name one: --intensity aws/us-east-1={path}"
        )
    return pairs


def _admitted(region: Region, filters: Filters) -> bool:
    """Whether the flags of the call admit it."""
    return (not filters.clouds or region.cloud in filters.clouds) and (
        not filters.regions or region.name in filters.regions
    )


def _quotes_in(planned: Planned, region: Region) -> Sequence[Quote]:
    """Everything feasible there, spot without falling back: that takes its time as it comes."""
    request = planned.request
    filters = request.filters
    if not _admitted(region, filters):
        return ()
    least_carbon_first = replace(request.job, objective=Objective(ObjectiveKind.CARBON))
    there = request._replace(
        job=least_carbon_first,
        evidence=request.evidence._replace(job=least_carbon_first),
        filters=filters._replace(clouds=(region.cloud,), regions=(region.name,)),
        top=0,
        explain=False,
        advise=False,
    )
    return Planner(planned.book, planned.plan.generated_at).plan(there).quotes


def _of_choice(planned: Planned, series: dict[str, Intensity]) -> tuple[Start | None, str | None]:
    """The plan's own choice, begun when it emits least; or why that is not known."""
    plan = planned.plan
    choice, deadline_s = plan.choice, plan.constraints.deadline_s
    assert choice is not None
    assert deadline_s is not None
    there = series.get(f"{choice.cloud}/{choice.region}")
    if there is None:
        return None, f"no series was given for {choice.cloud} {choice.region}"
    if choice.falls_back is not None:
        return None, "it waits for spot machines, and uses the time before the deadline itself"
    start = start_of(choice, there, plan.generated_at, deadline_s)
    return start, None if start else _why_not(there, [choice])


def _why_not(series: Intensity, quotes: Sequence[Quote]) -> str:
    """Why a region has no start."""
    if not quotes:
        return "nothing there is feasible"
    if all(quote.energy_kwh is None for quote in quotes):
        return "what its machines draw is not known"
    first, last = (
        f"{datetime.fromtimestamp(float(at), UTC):%Y-%m-%d %H:%M}"
        for at in (series.knots_s[0], series.knots_s[-1])
    )
    return f"its series, from {first} to {last} UTC, has no whole window from now to the deadline"
