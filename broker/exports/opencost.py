"""Charges as OpenCost's allocation API answers: one set of allocations, by name.

Fields: opencost.io/docs/integrations/api (`AllocationJSON` in OpenCost's source). What nobody knows
is null: above all, how a charge splits into processors, memory, GPUs and disks.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from mlbroker.broker.exports.charges import Charge, utc_text
from mlbroker.pricing.offer import Hardware

GIB = 1024**3
HardwareOf = Callable[[str, str], Hardware | None]
# Parts of the whole that the books do not split it into, and shares that nobody measured.
_UNKNOWN = (
    "cpuCost", "cpuEfficiency", "gpuCost", "ramCost", "ramEfficiency", "networkCost", "pvCost",
    "loadBalancerCost", "sharedCost", "externalCost", "totalEfficiency",
)  # fmt: skip


def allocations(charges: Sequence[Charge], hardware: HardwareOf) -> dict[str, Any]:
    """The answer: an allocation a charge, named `run/attempt`; costs are numbers in US dollars.

    `hardware(cloud, type)` is that of one machine, None where it is not known.
    """
    if not charges:
        return {"code": 200, "data": [{}]}
    window = _window(min(c.start for c in charges), max(c.end for c in charges))
    found = (_allocation(charge, hardware, window) for charge in charges)
    return {"code": 200, "data": [{one["name"]: one for one in found}]}


def _allocation(charge: Charge, hardware: HardwareOf, window: dict[str, str]) -> dict[str, Any]:
    run, attempt, nodes = charge.run, charge.attempt, charge.attempt.nodes
    box = hardware(attempt.cloud, attempt.instance_type)
    own = _window(charge.start, charge.end)
    hours = (charge.end - charge.start).total_seconds() / 3600
    cores, gpus, ram = (
        None if box is None else amount * nodes
        for amount in (
            (0, 0, 0) if box is None else (box.vcpus, box.gpu_count, box.memory_gib * GIB)
        )
    )
    return {
        "name": f"{run.run_id}/{attempt.number}",
        "properties": {
            "cluster": attempt.cloud,
            "node": attempt.machine_id,
            "controller": run.job,
            "controllerKind": "job",
            "namespace": run.project,
            "pod": run.run_id,
            "providerID": attempt.machine_id,
            "labels": {
                "instance_type": attempt.instance_type,
                "market": attempt.market,
                "region": attempt.region,
                "user": run.user,
            },
        },
        "window": window,
        **own,
        "minutes": hours * 60,
        "cpuCores": cores,
        "cpuCoreHours": _times(cores, hours),
        "gpuCount": gpus,
        "gpuHours": _times(gpus, hours),
        "ramBytes": ram,
        "ramByteHours": _times(ram, hours),
        **dict.fromkeys(_UNKNOWN),
        "totalCost": float(charge.usd),
    }


def _times(amount: float | None, hours: float) -> float | None:
    return None if amount is None else amount * hours


def _window(start: datetime, end: datetime) -> dict[str, str]:
    return {"start": utc_text(start), "end": utc_text(end)}
