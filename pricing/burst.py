"""Burstable machines: the share of their vCPUs that is theirs for good, and what buys the rest.

A credit is one vCPU at full use for a minute. A machine earns its baseline in credits and spends
what it uses; out of credits, it runs at its baseline. AWS's `unlimited` mode sells surplus credits
beyond that: machines are launched `standard`, so that there is no such bill.
"""

import re
from functools import lru_cache
from typing import NamedTuple


class Credits(NamedTuple):
    """Of each vCPU: the share it keeps without credits, and the credits there are at launch."""

    baseline: float
    at_launch: float = 0.0

    @property
    def full_speed_s(self) -> float:
        """How long all vCPUs can be fully used from the launch on."""
        return self.at_launch * 60 / (1 - self.baseline)


# AWS, EC2 user guide, "Key concepts for burstable performance instances" (baseline of each vCPU)
# and "Standard mode concepts" (T2 gets 30 credits a vCPU at launch; T3, T3a and T4g get none),
# read 2026-11.
_T2 = {
    "nano": 0.05, "micro": 0.1, "small": 0.2, "medium": 0.2, "large": 0.3, "xlarge": 0.225,
    "2xlarge": 0.17,
}  # fmt: skip
_T3 = {
    "nano": 0.05, "micro": 0.1, "small": 0.2, "medium": 0.2, "large": 0.3, "xlarge": 0.4,
    "2xlarge": 0.4,
}  # fmt: skip
_AWS = {f"t2.{size}": Credits(share, 30) for size, share in _T2.items()} | {
    f"{family}.{size}": Credits(share)
    for family in ("t3", "t3a", "t4g")
    for size, share in _T3.items()
}
_AWS_BURSTABLE = re.compile(r"t[2-9][a-z]*\.")
# Azure, "Bv1-series", "Bsv2-series", "Basv2-series" and "Bpsv2-series" (base CPU performance;
# initial credits are 30 a vCPU in every size), read 2026-11.
_AZURE_V1 = {
    "B1ls": 0.05, "B1s": 0.1, "B1ms": 0.2, "B2s": 0.2, "B2ms": 0.3, "B4ms": 0.225, "B8ms": 0.17,
    "B12ms": 0.17, "B16ms": 0.17, "B20ms": 0.17,
}  # fmt: skip
_AZURE_V2 = re.compile(r"Standard_B\d+[ap]?([tl]?)s_v2")
_AZURE_V2_BASELINE = {"t": 0.2, "l": 0.3, "": 0.4}
_AZURE_CREDITS = 30.0
# Google, "General-purpose machine family", shared-core: the share of its vCPUs that a machine
# sustains; for how long it may burst is published for none, so nothing is counted on. Read 2026-11.
_GCP = {
    "e2-micro": 0.125, "e2-small": 0.25, "e2-medium": 0.5, "f1-micro": 0.2, "g1-small": 0.5,
}  # fmt: skip


@lru_cache(maxsize=1024)
def credits_of(cloud: str, instance_type: str) -> Credits | None:
    """How a burstable type bursts; None for other types, and where nobody says."""
    if cloud == "aws":
        return _AWS.get(instance_type)
    if cloud == "gcp":
        return Credits(_GCP[instance_type]) if instance_type in _GCP else None
    if cloud != "azure":
        return None
    share = _AZURE_V1.get(instance_type.removeprefix("Standard_"))
    if share is None and (second := _AZURE_V2.fullmatch(instance_type)):
        share = _AZURE_V2_BASELINE[second[1]]
    return None if share is None else Credits(share, _AZURE_CREDITS)


def sells_surplus(instance_type: str) -> bool:
    """Whether AWS would sell surplus credits to this type, unless launched `standard`."""
    return _AWS_BURSTABLE.match(instance_type) is not None
