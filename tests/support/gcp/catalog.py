"""What the loopback cloud has for sale: zones, machine types, accelerators and images."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.prices.price_book import open_book

PROJECT = "loopback-project"
NUMBER = "123456789012"
REGIONS = ("europe-west4", "us-central1", "us-east1")
ZONES = tuple(f"{region}-{letter}" for region in REGIONS for letter in "abc")


@dataclass(frozen=True)
class Kind:
    """A machine type; `gpu` is the accelerator inside it."""

    name: str
    vcpus: int
    memory_mb: int
    arch: str = "X86_64"
    gpu: str | None = None
    gpus: int = 0


_KINDS = {
    kind.name: kind
    for kind in (
        Kind("e2-standard-2", 2, 8192),
        Kind("e2-standard-4", 4, 16384),
        Kind("n1-standard-4", 4, 15360),
        Kind("n4-standard-2", 2, 8192),
        Kind("c4a-standard-4", 4, 16384, "ARM64"),
        Kind("g2-standard-4", 4, 16384, gpu="nvidia-l4", gpus=1),
        Kind("a4x-highgpu-4g", 140, 884736, "ARM64", "nvidia-gb200", 4),
    )
}
# In one zone of each region alone.
ONLY_IN_C = {"a4x-highgpu-4g"}
ATTACHABLE = ("nvidia-tesla-t4", "nvidia-tesla-p100", "nvidia-tesla-v100", "nvidia-tesla-p4")
# These machine families take no other disks.
HYPERDISK_ONLY = ("a4", "a4x", "c4", "c4a", "c4d", "c4n", "g4", "m4", "m4n", "n4", "n4a", "n4d")


@dataclass(frozen=True)
class Image:
    """A public image, by its project and family."""

    project: str
    family: str
    arch: str = "X86_64"
    disk_gb: int = 20
    features: tuple[str, ...] = ("UEFI_COMPATIBLE", "GVNIC", "VIRTIO_SCSI_MULTIQUEUE")

    @property
    def name(self) -> str:
        return f"{self.family}-v20261101"

    @property
    def path(self) -> str:
        return f"projects/{self.project}/global/images/{self.name}"


IMAGES = (
    Image("rocky-linux-cloud", "rocky-linux-9-optimized-gcp"),
    Image("rocky-linux-cloud", "rocky-linux-9-optimized-gcp-arm64", "ARM64"),
    Image("deeplearning-platform-release", "common-cu129-ubuntu-2204-nvidia-580", disk_gb=50),
    Image(PROJECT, "own-image", features=("VIRTIO_SCSI_MULTIQUEUE",)),
)


def kind_of(name: str) -> Kind | None:
    """A machine type by its name."""
    return _KINDS.get(name)


def zones_of(name: str) -> tuple[str, ...]:
    """Where a machine type or an accelerator is offered."""
    return tuple(z for z in ZONES if z.endswith("c")) if name in ONLY_IN_C else ZONES


def sell_all() -> None:
    """Offer every machine type that mlbroker knows prices of, not only those of the tests."""
    with tempfile.TemporaryDirectory() as empty:
        types = [kind for _, _, kind in open_book(Path(empty), None).types()]
    for kind in types:
        if kind.cloud == "gcp" and "+" not in kind.name:
            _KINDS.setdefault(
                kind.name,
                Kind(
                    kind.name,
                    int(kind.hardware.vcpus) or 1,
                    int(kind.hardware.memory_gib * 1024),
                    "ARM64" if kind.hardware.arch == "arm64" else "X86_64",
                    "nvidia-inside" if kind.hardware.gpu else None,
                    int(kind.hardware.gpu_count),
                ),
            )
