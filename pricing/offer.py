"""What is for sale: a machine, a place, a market and a price.

Everything here is a frozen value. Prices are `Decimal` US dollars per hour for one machine.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class Market(StrEnum):
    """How a machine is bought. A spot machine can be taken away at any time."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"


class Gpu(NamedTuple):
    """One accelerator as clouds count them, with data-sheet peaks (dense, no sparsity).

    A figure the data sheet does not give is None, never 0.
    """

    model: str
    memory_gib: float
    fp32_tflops: float | None = None
    tensor_tflops: float | None = None
    memory_bandwidth_gb_per_s: float | None = None
    tdp_w: float | None = None


class Hardware(NamedTuple):
    """What decides how fast a job runs. Equal machines under different names are equal here.

    `gpu_count` may be a fraction (a shared slice of one GPU). `cpu` is the micro-architecture
    ("Ice Lake", "Graviton3"), None when the vendor does not say.
    `local_disk_gib` is 0 for none and None for unknown.
    `core_speed` is the measured speed of one thread, Ice Lake = 1; of `threads_per_core` 2, a vCPU
    is one of two threads of a core. None where nobody measured. Of a burstable machine that starts
    without credits it is the share that it keeps.
    """

    vcpus: float
    memory_gib: float
    arch: str
    cpu: str | None = None
    gpu: Gpu | None = None
    gpu_count: float = 0
    burstable: bool = False
    bare_metal: bool = False
    local_disk_gib: float | None = None
    network_gbps: float | None = None
    core_speed: float | None = None
    threads_per_core: int | None = None
    sockets: int | None = None

    @property
    def gpu_memory_gib(self) -> float:
        """Memory of all GPUs together."""
        return self.gpu.memory_gib * self.gpu_count if self.gpu else 0.0


class InstanceType(NamedTuple):
    """A machine type of a cloud. `retired` types still have prices but are not recommended."""

    cloud: str
    name: str
    hardware: Hardware
    retired: bool = False


class Offer(NamedTuple):
    """A machine type in one region and one market, at a dated price for one machine.

    `price_per_hour_usd` is always positive: a missing price is a missing offer.
    `interruption_rate` is the share of such spot machines interrupted within a month (0 to 1),
    None when nobody publishes it, which is not zero.
    """

    cloud: str
    region: str
    instance_type: str
    market: Market
    price_per_hour_usd: Decimal
    as_of: date
    source: str
    stale: bool = False
    interruption_rate: float | None = None
