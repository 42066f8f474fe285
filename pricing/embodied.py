"""Emissions of making the machines (embodied carbon), as a share of their servers' lives.

The construction is that of Teads ("Building an AWS EC2 Carbon Emissions Dataset", September 2021,
section 5), which the Cloud Carbon Footprint took over: a small rack server, and so much more for
each part that it has beyond. Its figures are read off cloud-carbon-coefficients,
ccfcoef/constants.py (commit 0bdac99). What they do not tell is assumed here, and said.
docs/carbon.md works it out for three types.
"""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from mlbroker.pricing.offer import Hardware, InstanceType

# Of the method with its coefficients: documents name it beside the figures.
METHOD = "mlbroker-embodied/1"
# A rack server of one socket, with little memory and no disk.
SERVER_KG = 1000.0
ADDED_SOCKET_KG = 100.0
# 533 kg for the 384 GB of a Dell PowerEdge R740 by its life-cycle assessment; the first 16 GB are
# in the server.
MEMORY_KG_PER_GIB = 533 / 384
INCLUDED_GIB = 16.0
SSD_KG = 100.0
GPU_KG = 150.0
# Four years, as the R740's assessment has it.
LIFETIME_H = 4 * 365 * 24

# Assumed: disks are of 3.84 TB, as the R740's are, and all SSDs: books do not tell how many make up
# a size. They are 24 at most, as in the largest servers of Teads' table, and where not even the
# size is published two, as most often there.
DISK_GIB = 3840e9 / 2**30
USUAL_DISKS, MOST_DISKS = 2, 24
# Cores of a family's largest processor, by its vendor's data sheet: a server has as many sockets as
# its vCPUs need. What has no processor named, or one that is not here, is assumed to have 32.
_CORES = {
    "Sandy Bridge": 8,
    "Ivy Bridge": 12,
    "Haswell": 18,
    "Broadwell": 22,
    "Skylake": 28,
    "Cascade Lake": 28,
    "Ice Lake": 40,
    "Sapphire Rapids": 60,
    "Emerald Rapids": 64,
    "Granite Rapids": 128,
    "EPYC 1st Gen": 32,
    "EPYC 2nd Gen": 64,
    "EPYC 3rd Gen": 64,
    "EPYC 4th Gen": 96,
    "EPYC 5th Gen": 128,
    "Graviton1": 16,
    "Graviton2": 64,
    "Graviton3": 64,
    "Graviton3E": 64,
    "Graviton4": 96,
    "Graviton5": 192,
    "Ampere Altra": 80,
    "Cobalt 100": 128,
    "Axion": 96,
    "Grace": 72,
}
_USUAL_CORES = 32
# What of a type's name is its size: the rest is its family.
_SIZES = {
    "aws": re.compile(r"\..*"),
    "gcp": re.compile(r"-\d+g?(?=-|\+|$)|\+.*"),
    "azure": re.compile(r"(?<=[A-Za-z])\d+(-\d+)?"),
}
# Azure's D32-16s_v3 is a D32s_v3 of which 16 vCPUs are in use.
_IN_USE = re.compile(r"(?<=\d)-\d+")


class Server(NamedTuple):
    """What types of a family are parts of; its GPUs apart, which each type has its own of."""

    vcpus: float
    memory_gib: float
    sockets: int
    disks: int

    @classmethod
    def of(cls, largest: Hardware) -> "Server":
        """By the largest type of a family, which is all of it.

        One that does not fill half a processor is assumed to share a server of one socket with
        others of its kind: burstable machines, and those of the smallest families.
        """
        cores = _CORES.get(largest.cpu or "", _USUAL_CORES)
        threads = largest.threads_per_core or (1 if largest.arch == "arm64" else 2)
        chip = cores * threads
        vcpus = chip if largest.vcpus < chip / 2 else largest.vcpus
        of_it = vcpus / largest.vcpus
        disk_gib = largest.local_disk_gib
        return cls(
            vcpus=vcpus,
            memory_gib=largest.memory_gib * of_it,
            sockets=math.ceil(vcpus / chip),
            disks=USUAL_DISKS
            if disk_gib is None
            else min(MOST_DISKS, math.ceil(disk_gib * of_it / DISK_GIB)),
        )

    @property
    def kgco2e(self) -> float:
        """Of making it."""
        return (
            SERVER_KG
            + ADDED_SOCKET_KG * (self.sockets - 1)
            + MEMORY_KG_PER_GIB * max(0.0, self.memory_gib - INCLUDED_GIB)
            + SSD_KG * self.disks
        )


class Servers:
    """The servers behind all machine types of a book."""

    def __init__(self, kinds: Iterable[InstanceType]) -> None:
        self._kinds = {(kind.cloud, kind.name): kind.hardware for kind in kinds}
        self._largest: dict[tuple[str, str], Hardware] = {}
        for (cloud, name), hardware in self._kinds.items():
            family = family_of(cloud, name)
            if family is None or hardware.vcpus <= 0:
                continue
            largest = self._largest.setdefault((cloud, family), hardware)
            if hardware.vcpus > largest.vcpus:
                self._largest[cloud, family] = hardware

    def server_of(self, cloud: str, name: str) -> Server | None:
        """The server that a type is a part of; None where that is unknown."""
        largest = self._largest.get((cloud, family_of(cloud, name) or ""))
        return None if largest is None else Server.of(largest)

    def kgco2e_per_hour(self, cloud: str, name: str) -> float | None:
        """Of one machine: its vCPUs' share of the server, and its own GPUs, over their life.

        None for a type that is not in the book, or of which nobody knows what server it is a part
        of: a node of one's own may be anything.
        """
        hardware, server = self._kinds.get((cloud, name)), self.server_of(cloud, name)
        if hardware is None or server is None or hardware.vcpus <= 0:
            return None
        share = self._taken_vcpus(cloud, name, hardware) / server.vcpus
        return (server.kgco2e * share + GPU_KG * hardware.gpu_count) / LIFETIME_H

    def _taken_vcpus(self, cloud: str, name: str, hardware: Hardware) -> float:
        """What nobody else can have meanwhile: more than those in use, of a constrained type."""
        if cloud != "azure":
            return hardware.vcpus
        return self._kinds.get((cloud, _IN_USE.sub("", name)), hardware).vcpus


def family_of(cloud: str, name: str) -> str | None:
    """A type's name without its size: m5 of m5.xlarge; None for a cloud whose names are not read.

    Types of a family are parts of equal servers.
    """
    size = _SIZES.get(cloud)
    return None if size is None else size.sub("", name, count=0 if cloud == "gcp" else 1)
