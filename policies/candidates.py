"""Which machine types the job could run on at all, before any price is looked at; and why not."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mlbroker.policies.quote import Reason
from mlbroker.pricing.book import TypeEntry
from mlbroker.pricing.gpu_names import NOT_CUDA
from mlbroker.pricing.offer import InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import vendor
from mlbroker.profiles.job import Job, ResourceOption
from mlbroker.profiles.measurement import Measurement, Status

MARKETS = tuple(Market)


class Filters(NamedTuple):
    """Restrictions from the command line; an empty tuple restricts nothing."""

    clouds: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    markets: tuple[Market, ...] = ()
    instance_types: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        clouds: Iterable[str] | None,
        regions: Iterable[str] | None,
        markets: Iterable[Market] | None,
        instance_types: Iterable[str] | None,
    ) -> "Filters":
        """From flags that may be absent."""
        return cls(
            tuple(clouds or ()), tuple(regions or ()), tuple(markets or ()),
            tuple(instance_types or ()),
        )  # fmt: skip


class TypeRefusal(NamedTuple):
    """A machine type that is out in one market before it is a candidate.

    `usd_per_hour` is its least price, where that is what keeps it out.
    """

    type_id: int
    type: InstanceType
    market: Market
    reason: Reason
    detail: str
    usd_per_hour: float | None = None


# The indices of the resource options that a type meets, or why it meets none.
_Verdict = tuple[tuple[int, ...], tuple[Reason, str] | None]


class Fit(NamedTuple):
    """A type that meets at least one of the job's resource options (`options`: which)."""

    id: int
    hardware_id: int
    type: InstanceType
    options: tuple[int, ...]


def admitted_markets(option: ResourceOption, filters: Filters) -> list[Market]:
    """Markets that both the job's option and the flags admit."""
    return [
        market
        for market in Market
        if (option.market in (None, market) or (option.market_assumed and filters.markets))
        and (not filters.markets or market in filters.markets)
    ]


def regions_admitted(
    regions: dict[int, Region], option: ResourceOption, filters: Filters
) -> frozenset[int] | None:
    """Ids of the regions that option and flags admit; None when they restrict nothing."""
    if option.region is None and not filters.regions:
        return None
    return frozenset(
        number
        for number, region in regions.items()
        if (option.region is None or region.name == option.region)
        and (not filters.regions or region.name in filters.regions)
    )


def fitting(
    job: Job,
    types: Iterable[TypeEntry],
    measurements: Sequence[Measurement],
    filters: Filters,
) -> tuple[list[Fit], list[TypeRefusal]]:
    """Types that meet at least one option, and the rest with why."""
    need_gib = max((m.peak_memory_gib or 0.0 for m in measurements), default=0.0)
    need_gpu_gib = max((m.peak_gpu_memory_gib or 0.0 for m in measurements), default=0.0)
    broken = _broken_types(measurements)
    measured = {row.instance_type or row.config for row in measurements}
    requirements = [option.requirements for option in job.resources]
    # Most types share their hardware with others: what it meets is worked out once.
    named = bool(filters.instance_types) or any(o.instance_type for o in job.resources)
    memo: dict[tuple[int, str, str], _Verdict] = {}
    fits: list[Fit] = []
    refusals: list[TypeRefusal] = []
    for number, hardware_id, kind in types:
        key = (hardware_id, kind.cloud, kind.name if named else "")
        verdict = memo.get(key)
        if verdict is None:
            asked = kind.name in filters.instance_types
            missing = [option.unmet(kind, named=asked) for option in job.resources]
            verdict = memo[key] = _options(job.resources, kind, missing, filters)
        options, why = verdict
        if (
            why is None
            and kind.hardware.gpu is not None
            and kind.hardware.gpu.model in NOT_CUDA
            and kind.name not in measured
            and not any(need.gpu_model == kind.hardware.gpu.model for need in requirements)
        ):
            model = kind.hardware.gpu.model
            why = (Reason.NEEDS_NOT_MET, f"{model} runs only what was built for it: ask for it")
        if why is None:
            if kind.retired and not _named(job, kind, filters):
                why = (Reason.RETIRED, "retired, or not listed any more; name it to use it")
            elif need_gib > kind.hardware.memory_gib > 0:
                why = (Reason.TOO_LITTLE_MEMORY, f"the job was seen to use {need_gib:.1f} GiB")
            elif 0 < kind.hardware.gpu_count < 1 and need_gpu_gib > kind.hardware.gpu_memory_gib:
                # On whole GPUs many a library takes what it finds: that is no need.
                seen = f"the job was seen to use {need_gpu_gib:.1f} GiB of a GPU's memory"
                why = (Reason.TOO_LITTLE_MEMORY, seen)
            elif (most := vendor(kind.cloud).most_nodes) is not None and job.num_nodes > most:
                why = (Reason.NEEDS_NOT_MET, f"a run has {most} of your own, not {job.num_nodes}")
            elif (kind.name, job.num_nodes) in broken:
                why = (Reason.PROBE_FAILED, broken[kind.name, job.num_nodes])
        if why is None:
            fits.append(Fit(number, hardware_id, kind, options))
        else:
            for market in filters.markets or MARKETS:
                refusals.append(TypeRefusal(number, kind, market, *why))
    return fits, refusals


def _options(
    resources: Sequence[ResourceOption],
    kind: InstanceType,
    missing: Sequence[str | None],
    filters: Filters,
) -> _Verdict:
    """Which resource options a type meets; else why it meets none."""
    if filters.clouds and kind.cloud not in filters.clouds:
        return (), (Reason.EXCLUDED_BY_FLAG, f"cloud {kind.cloud} is not allowed")
    if filters.instance_types and kind.name not in filters.instance_types:
        return (), (Reason.EXCLUDED_BY_FLAG, "another type was asked for")
    options = tuple(
        index
        for index, option in enumerate(resources)
        if missing[index] is None
        and option.cloud in (None, kind.cloud)
        and (option.instance_type is None or option.names(kind.name))
    )
    if options:
        return options, None
    for index, option in enumerate(resources):
        if option.cloud not in (None, kind.cloud):
            return (), (Reason.EXCLUDED_BY_PIN, f"cloud {option.cloud} was asked for")
        if option.instance_type is not None and not option.names(kind.name):
            return (), (Reason.EXCLUDED_BY_PIN, f"{option.instance_type} was asked for")
        if missing[index] is not None:
            break
    return (), (Reason.NEEDS_NOT_MET, missing[index] or "")


def _named(job: Job, kind: InstanceType, filters: Filters) -> bool:
    return kind.name in filters.instance_types or any(
        option.names(kind.name) for option in job.resources
    )


def _broken_types(rows: Sequence[Measurement]) -> dict[tuple[str, int], str]:
    """Types on which the job failed and never worked, with the reason."""
    worked = {(m.instance_type or m.config, m.nodes) for m in rows if m.status is Status.OK}
    return {
        key: f"the job failed there: {m.reason or 'no reason recorded'}"
        for m in rows
        if m.status is Status.FAILED
        and (key := (m.instance_type or m.config, m.nodes)) not in worked
    }
