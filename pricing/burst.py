"""Burstable machines: the share of their vCPUs that is theirs for good, and what buys the rest.

A credit is one vCPU at full use for a minute. A machine earns its baseline in credits and spends
what it uses; out of credits, it runs at its baseline. AWS's `unlimited` mode sells surplus credits
beyond that: machines are launched `standard`, so that there is no such bill.
"""

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
# How the burstable types of EC2 burst when launched `standard`.
AWS_CREDITS = {f"t2.{size}": Credits(share, 30) for size, share in _T2.items()} | {
    f"{family}.{size}": Credits(share)
    for family in ("t3", "t3a", "t4g")
    for size, share in _T3.items()
}
# Azure, "Bv1-series", "Bsv2-series", "Basv2-series" and "Bpsv2-series" (base CPU performance;
# initial credits are 30 a vCPU in every size), read 2026-11.
_AZURE_V1 = {
    "B1ls": 0.05, "B1s": 0.1, "B1ms": 0.2, "B2s": 0.2, "B2ms": 0.3, "B4ms": 0.225, "B8ms": 0.17,
    "B12ms": 0.17, "B16ms": 0.17, "B20ms": 0.17,
}  # fmt: skip
# By what the name ends with: B2ts_v2, B2als_v2, B2ps_v2.
_AZURE_V2 = {"ts_v2": 0.2, "ls_v2": 0.3, "s_v2": 0.4}
_AZURE_CREDITS = 30.0
# Google, "General-purpose machine family", shared-core: the share of its vCPUs that a machine
# sustains; for how long it may burst is published for none, so nothing is counted on. Read 2026-11.
GCP_CREDITS = {
    "e2-micro": Credits(0.125),
    "e2-small": Credits(0.25),
    "e2-medium": Credits(0.5),
    "f1-micro": Credits(0.2),
    "g1-small": Credits(0.5),
}


def azure_credits(instance_type: str) -> Credits | None:
    """How a size of Azure's B series bursts; None for all others."""
    size = instance_type.removeprefix("Standard_")
    share = _AZURE_V1.get(size)
    if share is None and size[:1] == "B" and size[1:2].isdigit():
        share = next((_AZURE_V2[end] for end in _AZURE_V2 if size.endswith(end)), None)
    return None if share is None else Credits(share, _AZURE_CREDITS)


def sells_surplus(instance_type: str) -> bool:
    """Whether AWS would sell surplus credits to this type, unless launched `standard`."""
    return instance_type[:1] == "t" and instance_type[1:2].isdigit() and instance_type[1] != "1"
