"""A measurements table as the back-test sees it: configurations, and jobs with their true times."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlbroker.broker.errors import InputError
from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.arrays import Array
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.transfer.history import PastJob
from mlbroker.profiles.transfer.space import Space, encode


@dataclass(frozen=True, slots=True)
class TrueJob:
    """One job of the table: where it ran, for how long, at what price.

    `rows` are places in the table's list of configurations. `time_s` is of the whole work, where
    the job failed the time until then; `worked` tells which.
    """

    name: str
    family: str
    rows: Array
    time_s: Array
    price_per_hour_usd: Array
    worked: Array

    def as_history(self) -> PastJob:
        """What others may know of it once it is past."""
        return PastJob(
            self.name,
            self.family,
            self.rows[self.worked],
            np.log(self.time_s[self.worked]),
            self.rows[~self.worked],
        )

    def scaled(self, hours: float) -> "TrueJob":
        """The same job, grown or shrunk until its cheapest configuration runs that long."""
        cost = np.where(self.worked, self.time_s * self.price_per_hour_usd, np.inf)
        factor = hours * 3600 / float(self.time_s[int(cost.argmin())])
        return replace(self, time_s=self.time_s * factor)


@dataclass(frozen=True, slots=True)
class Table:
    """Configurations in the order of their names, their space, and the jobs."""

    configs: tuple[str, ...]
    space: Space
    hardware: tuple[Hardware | None, ...]
    nodes: tuple[int, ...]
    jobs: tuple[TrueJob, ...]


def understand(rows: Sequence[Measurement], where: str, report: Callable[[str], None]) -> Table:
    """The table. Rows without a price are left out, as are jobs that never worked; both are said.

    Repeats of a job on a configuration are pooled.
    """
    priced = [row for row in rows if row.price_per_hour_usd is not None]
    if len(priced) < len(rows):
        report(f"{where}: {len(rows) - len(priced):,} rows without a price are left out")
    if not priced:
        raise InputError(
            "no row has a price",
            where=where,
            hint="fill the column price_per_hour_usd: what the whole configuration costs an hour",
        )
    first: dict[str, Measurement] = {}
    by_job: dict[str, list[Measurement]] = defaultdict(list)
    for row in priced:
        if row.status is Status.STOPPED:
            continue  # how long it would have taken, nobody knows
        first.setdefault(row.config, row)
        by_job[row.job].append(row)
    names = sorted(first)
    place = {name: number for number, name in enumerate(names)}
    jobs = []
    for name, mine in by_job.items():
        if any(row.status is Status.OK for row in mine):
            jobs.append(_job(name, mine, place))
        else:
            report(f"{where}: {name} never worked and is left out")
    if not jobs:
        raise InputError("no job ever worked", where=where, hint="status must be ok somewhere")
    known = [features(first[name]) for name in names]
    columns = {c: [row.get(c, math.nan) for row in known] for c in sorted(set().union(*known))}
    space = encode(columns, [first[name].instance_type or "" for name in names])
    hardware = tuple(_used(first[name]) for name in names)
    nodes = tuple(first[name].nodes for name in names)
    return Table(tuple(names), space, hardware, nodes, tuple(jobs))


def _used(row: Measurement) -> Hardware | None:
    """The hardware of one node, with as many GPUs as the table says that were used."""
    hardware, gpus = row.hardware, row.features.get("gpus")
    if hardware is None or hardware.gpu is None or not gpus:
        return hardware
    return hardware._replace(gpu_count=min(hardware.gpu_count, gpus / row.nodes))


def features(row: Measurement) -> dict[str, float]:
    """What is known of a row's configuration as numbers."""
    known = dict(row.features)
    known["nodes"] = float(row.nodes)
    if row.batch_size is not None:
        known["batch_size"] = float(row.batch_size)
    if row.price_per_hour_usd is not None:
        known["price_per_hour_usd"] = float(row.price_per_hour_usd)
    return known


def _job(name: str, rows: Sequence[Measurement], place: dict[str, int]) -> TrueJob:
    by_config: dict[int, list[Measurement]] = defaultdict(list)
    for row in rows:
        by_config[place[row.config]].append(row)
    places, times, prices, worked = [], [], [], []
    for number in sorted(by_config):
        mine = by_config[number]
        ok = [row for row in mine if row.status is Status.OK]
        works = 2 * len(ok) >= len(mine)
        counted = ok if works else [row for row in mine if row.status is not Status.OK]
        logs = [math.log(row.time_s * (row.steps or 1)) for row in counted]
        places.append(number)
        times.append(math.exp(sum(logs) / len(logs)))
        prices.append(sum(float(row.price_per_hour_usd or 0) for row in mine) / len(mine))
        worked.append(works)
    if not any(worked):
        # Failed more often than not everywhere: where it ever worked has to do.
        worked = [any(r.status is Status.OK for r in by_config[n]) for n in sorted(by_config)]
    return TrueJob(
        name,
        rows[0].group or name,
        np.array(places),
        np.array(times),
        np.array(prices),
        np.array(worked),
    )
