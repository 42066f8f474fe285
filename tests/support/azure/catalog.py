"""What the loopback Azure sells where."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbroker.broker.prices.price_book import open_book

SUBSCRIPTION = "00000000-0000-4000-8000-00000000a2be"
REGIONS = ("eastus", "westeurope")
ZONED = frozenset({"eastus"})


@dataclass(frozen=True)
class Size:
    name: str
    vcpus: int
    memory_gb: int
    gpus: int = 0
    arch: str = "x64"
    gen: str = "V1,V2"
    confidential: bool = False


SIZES = {
    size.name: size
    for size in (
        Size("Standard_D2s_v5", 2, 8),
        Size("Standard_D4s_v5", 4, 16),
        Size("Standard_D2ps_v5", 2, 8, arch="Arm64", gen="V2"),
        Size("Standard_DC2as_v5", 2, 8, gen="V2", confidential=True),
        Size("Standard_A1_v2", 1, 2, gen="V1"),
        Size("Standard_NC4as_T4_v3", 4, 28, gpus=1),
        Size("Standard_ND128isr_GB200_v6", 128, 900, gpus=4, arch="Arm64", gen="V2"),
    )
}


@dataclass(frozen=True)
class Image:
    """One of the Marketplace. What carries a plan is refused without it, and without its terms."""

    gen: str
    arch: str = "x64"
    plan: bool = False


ALMA = {"publisher": "almalinux", "product": "almalinux-x86_64", "name": "9-gen2"}
IMAGES = {
    ("Canonical", "ubuntu-24_04-lts", "server"): Image("V2"),
    ("Canonical", "ubuntu-24_04-lts", "server-gen1"): Image("V1"),
    ("Canonical", "ubuntu-24_04-lts", "server-arm64"): Image("V2", "Arm64"),
    ("microsoft-dsvm", "ubuntu-hpc", "2204"): Image("V2"),
    ("almalinux", "almalinux-x86_64", "9-gen2"): Image("V2", plan=True),
}
VERSIONS = ("2026.10.01", "2026.11.02")
VERSIONS = ("2026.10.01", "2026.11.02")
_COMPUTE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/images/providers/Microsoft.Compute"
# Images made from others: what `imageReference` calls them, without a version, and the plan that
# their definition keeps. What was made from an image with a plan is refused without it.
COPIES: dict[str, dict[str, str] | None] = {
    f"{_COMPUTE}/galleries/ours/images/plain": None,
    f"{_COMPUTE}/galleries/ours/images/alma": ALMA,
    "/CommunityGalleries/alma-1f2e/Images/alma": ALMA,
    "/SharedGalleries/1f2e-ALMA/Images/alma": ALMA,
    f"{_COMPUTE}/images/snapshot": ALMA,
}


def copy_named(reference: dict[str, str]) -> str | None:
    """What an `imageReference` calls a copy, without its version; None for one of Marketplace."""
    for name in ("id", "communityGalleryImageId", "sharedGalleryImageId"):
        if name in reference:
            return re.sub("/versions/[^/]+$", "", reference[name], flags=re.IGNORECASE)
    return None


def sell_all() -> None:
    """Offer every size that mlbroker knows prices of, not only those of the tests."""
    with tempfile.TemporaryDirectory() as empty:
        types = [kind for _, _, kind in open_book(Path(empty), None).types()]
    for kind in types:
        if kind.cloud == "azure":
            has, arch = kind.hardware, "Arm64" if kind.hardware.arch == "arm64" else "x64"
            SIZES.setdefault(
                kind.name,
                Size(kind.name, int(has.vcpus) or 1, int(has.memory_gib), int(has.gpu_count), arch),
            )


def sku(size: Size, region: str) -> dict[str, Any]:
    """One of `Microsoft.Compute/skus`."""
    can = {
        "vCPUs": str(size.vcpus),
        "MemoryGB": str(size.memory_gb),
        "CpuArchitectureType": size.arch,
        "HyperVGenerations": size.gen,
        "PremiumIO": "True" if "s_" in size.name else "False",
    }
    if size.confidential:
        can["ConfidentialComputingType"] = "SNP"
    if size.gpus:
        can["GPUs"] = str(size.gpus)
    return {
        "resourceType": "virtualMachines",
        "name": size.name,
        "tier": "Standard",
        "size": size.name.removeprefix("Standard_"),
        "family": f"standard{size.name.split('_')[1]}Family",
        "locations": [region],
        "locationInfo": [{"location": region, "zones": ["1", "2", "3"] if region in ZONED else []}],
        "capabilities": [{"name": name, "value": value} for name, value in can.items()],
        "restrictions": [],
    }
