"""A dated snapshot of offers, and which machines satisfy plain requirements."""

import math
from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from mlbroker.pricing.offer import Hardware, InstanceType


class Snapshot(NamedTuple):
    """Which prices a decision was made with: its hash, and each cloud's oldest and newest date."""

    id: str
    as_of: Mapping[str, date]
    oldest: Mapping[str, date]
    offers: int
    stale_offers: int


class Amount(NamedTuple):
    """A number asked for exactly, or at least (`4` or `4+`)."""

    value: float
    at_least: bool = True

    def admits(self, value: float) -> bool:
        """Whether a machine with `value` of it will do."""
        return value >= self.value if self.at_least else value == self.value

    def __str__(self) -> str:
        return f"{self.value:g}{'+' if self.at_least else ''}"


# Parts of a GPU are written with two or three digits: 0.33 and 0.333 are a third.
_SAME_PART = 0.01
# In doublings: more than the largest machine is from the smallest.
_OTHER_KIND = 100


class Requirements(NamedTuple):
    """Plain needs of a job towards one machine. None asks for nothing.

    `gpu_model` is a name of the book ("A100-40GB"); with `gpu_count` None any count will do.
    Without a GPU asked for, machines with a GPU satisfy too, but for a `gpu_count` of 0.
    `gpu_memory_gib` is that of each GPU, of whatever model. `memory_gib_per_vcpu` is a least ratio.
    """

    vcpus: Amount | None = None
    memory_gib: Amount | None = None
    memory_gib_per_vcpu: float | None = None
    gpu_model: str | None = None
    gpu_count: float | None = None
    arch: str | None = None
    gpu_memory_gib: Amount | None = None

    @property
    def wants_gpu(self) -> bool:
        """Whether a GPU is asked for, by its model or by its memory."""
        return self.gpu_model is not None or self.gpu_memory_gib is not None

    def unmet(self, hardware: Hardware) -> str | None:
        """The first need that `hardware` does not meet, in words, or None when it meets all."""
        wants_gpu = self.wants_gpu
        if wants_gpu and not self._has_kind(hardware):
            count = "" if self.gpu_count is None else f":{self.gpu_count:g}"
            return f"no {self.gpu_model or f'GPU of {self.gpu_memory_gib} GiB'}{count}"
        if wants_gpu and hardware.gpu and not self._has_count(hardware):
            return f"{hardware.gpu_count:.3g} {hardware.gpu.model}, asked for {self.gpu_count:g}"
        if self.gpu_count == 0 and hardware.gpu is not None:
            return f"a {hardware.gpu.model}, asked for no GPU"
        if self.vcpus and not self.vcpus.admits(hardware.vcpus):
            unit = "vCPU" if hardware.vcpus == 1 else "vCPUs"
            return f"{hardware.vcpus:g} {unit}, asked for {self.vcpus}"
        if self.memory_gib and not self.memory_gib.admits(hardware.memory_gib):
            return f"{hardware.memory_gib:g} GiB memory, asked for {self.memory_gib}"
        per_vcpu = self.memory_gib_per_vcpu
        if per_vcpu is not None and hardware.memory_gib < per_vcpu * hardware.vcpus:
            ratio = hardware.memory_gib / hardware.vcpus
            return f"{ratio:.3g} GiB memory for each vCPU, asked for {per_vcpu:g}"
        if self.arch is not None and hardware.arch != self.arch:
            return f"architecture {hardware.arch}, asked for {self.arch}"
        return None

    def parts_of(self, hardware: Hardware) -> int:
        """Of how many equal machines of this hardware GPUs, processors and memory are the sum."""
        needs = [(self.vcpus, hardware.vcpus), (self.memory_gib, hardware.memory_gib)]
        if self.wants_gpu and self.gpu_count is not None and self._has_kind(hardware):
            needs.append((Amount(self.gpu_count), hardware.gpu_count))
        parts = [math.ceil(n.value / has - _SAME_PART) for n, has in needs if n and has]
        return max([1, *parts])

    def distance(self, hardware: Hardware) -> float:
        """How far `hardware` is from meeting the needs: doublings of each, and more than any of
        them for another kind of GPU or processor.
        """
        needs = [(self.vcpus, hardware.vcpus), (self.memory_gib, hardware.memory_gib)]
        if self.memory_gib_per_vcpu is not None:
            needs.append((Amount(self.memory_gib_per_vcpu * hardware.vcpus), hardware.memory_gib))
        if self.wants_gpu and self.gpu_count is not None and not self._has_count(hardware):
            needs.append((Amount(self.gpu_count, at_least=False), hardware.gpu_count))
        doublings = (
            abs(math.log2(max(has, 0.01) / need.value))
            for need, has in needs
            if need is not None and not need.admits(has)
        )
        other_kind = (self.wants_gpu and not self._has_kind(hardware)) or self.arch not in (
            None,
            hardware.arch,
        )
        return sum(doublings) + (_OTHER_KIND if other_kind else 0)

    def _has_kind(self, hardware: Hardware) -> bool:
        gpu, memory = hardware.gpu, self.gpu_memory_gib
        return (
            gpu is not None
            and self.gpu_model in (None, gpu.model)
            and (memory is None or memory.admits(gpu.memory_gib))
        )

    def _has_count(self, hardware: Hardware) -> bool:
        asked = self.gpu_count
        return asked is None or abs(hardware.gpu_count - asked) < _SAME_PART


class TypeEntry(NamedTuple):
    """A machine type with its id and that of its hardware; equal hardware has one id."""

    id: int
    hardware_id: int
    type: InstanceType


class RegionPrice(NamedTuple):
    """What one machine of a type costs in one region and market, as read in bulk.

    `spot` is 1 or 0; `interruption_rate` is a monthly share, None where unknown; `age_days` are
    since the price's date, and very many where its source calls it old.
    """

    type_id: int
    spot: int
    region_id: int
    nano_usd_per_hour: int
    interruption_rate: float | None
    age_days: int

    @property
    def offered(self) -> tuple[int, int]:
        """What it is the price of: type id, and 1 for spot."""
        return self[:2]
