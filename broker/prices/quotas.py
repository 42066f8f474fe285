"""The account's quotas: how many CPUs, GPUs or machines each cloud lets it have, and where.

Fetched with the user's own credentials by `mlbroker prices quotas --refresh` and kept with their
date in `<home>/quotas.json`. A plan only reads that file.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.home import present, private_folder
from mlbroker.pricing.offer import InstanceType
from mlbroker.pricing.vendors import vendor

FILE = "quotas.json"


class Quota(NamedTuple):
    """One limit in one region and market.

    `unit` is what it counts: vcpu or gpu. `families` are the type families it is for, empty for
    all that no other quota names, ("*",) for all there are; `gpu` is the GPU model it is for.
    `used` None is unknown.
    """

    cloud: str
    region: str
    spot: bool
    name: str
    unit: str
    limit: float
    used: float | None = None
    families: tuple[str, ...] = ()
    gpu: str | None = None


class Quotas:
    """All quotas known, with the day they are of."""

    def __init__(self, quotas: Iterable[Quota], as_of: Mapping[str, str]) -> None:
        self.all = tuple(quotas)
        self.as_of = dict(as_of)
        self._at: dict[tuple[str, str, bool], list[Quota]] = {}
        for quota in self.all:
            self._at.setdefault((quota.cloud, quota.region, quota.spot), []).append(quota)

    def lookup(self, kind: InstanceType, region: str, spot: bool, nodes: int = 1) -> str | None:
        """Why the account may not have `nodes` machines of this kind there, None when it may.

        What is not known does not forbid.
        """
        here = self._at.get((kind.cloud, region, spot))
        if not here:
            return None
        family, hardware = vendor(kind.cloud).quota_family(kind.name), kind.hardware
        named = {member for quota in here for member in quota.families}
        for quota in here:
            if quota.unit == "gpu":
                if hardware.gpu is None or hardware.gpu.model != quota.gpu:
                    continue
                need = hardware.gpu_count * nodes
            else:
                mine = family in quota.families if family in named else not quota.families
                if not mine and quota.families != ("*",):
                    continue
                need = hardware.vcpus * nodes
            left = quota.limit - (quota.used or 0)
            if need > left:
                used = "" if quota.used is None else f", {quota.used:g} in use"
                unit = "GPUs" if quota.unit == "gpu" else "vCPUs"
                return (
                    f"{quota.name}: {need:g} {unit} needed, {quota.limit:g} allowed{used}"
                    f" (as of {self.as_of.get(kind.cloud, 'unknown')})"
                )
        return None


def load(home: Path) -> Quotas:
    """The quotas fetched last; none at all when none were."""
    if not present(home / FILE):
        return Quotas((), {})
    try:
        document = json.loads((home / FILE).read_text("utf-8"))
        quotas = [
            Quota._make((*row[:7], tuple(row[7]), row[8]))
            for rows in document["quotas"].values()
            for row in rows
        ]
        return Quotas(quotas, document["as_of"])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        # A cache, no more: a damaged one is as good as none, and the next refresh replaces it.
        return Quotas((), {})
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}",
            where=str(home / FILE),
            hint="Make it readable, or remove it and fetch it again: mlbroker prices quotas",
        ) from None


def save(home: Path, cloud: str, quotas: Iterable[Quota], now: datetime) -> None:
    """Replace one cloud's quotas at once; the others stay."""
    known = load(home)
    rows: dict[str, list[Quota]] = {}
    for quota in known.all:
        if quota.cloud != cloud:
            rows.setdefault(quota.cloud, []).append(quota)
    rows[cloud] = list(quotas)
    document = {
        "as_of": {**known.as_of, cloud: now.isoformat(timespec="minutes")},
        "quotas": rows,
    }
    private_folder(str(home))
    aside = home / f".{FILE}"
    aside.write_text(json.dumps(document), "utf-8")
    aside.replace(home / FILE)
