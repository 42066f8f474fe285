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
    """A machine type; `gpu` is the accelerator inside it, `ssd_tib` its local disks."""

    name: str
    vcpus: int
    memory_mb: int
    arch: str = "X86_64"
    gpu: str | None = None
    gpus: int = 0
    ssd_tib: float = 0.0

    @property
    def is_bare_metal(self) -> bool:
        return self.name.endswith("-metal")

    def maintenance(self) -> set[str]:
        """What may be asked for on the host's maintenance, of machines that are not spot."""
        if self.gpu or self.is_bare_metal or self.name.startswith("h4d-"):
            return {"TERMINATE"}
        if self.name.startswith("e2-"):
            return {"MIGRATE"}
        if self.name.startswith("z3-"):
            return {"TERMINATE" if self.ssd_tib > 18 else "MIGRATE"}
        return {"MIGRATE", "TERMINATE"}

    def models(self) -> set[str]:
        """How it can be bought by whoever has reserved nothing and does not wait for it."""
        if self.name.startswith("a4x-"):
            return set()
        if self.name in ("a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g"):
            return {"SPOT"}
        if self.name.startswith(("a4-", "a3-ultragpu-")):
            return {"SPOT"}
        return {"STANDARD"} if self.is_bare_metal else {"STANDARD", "SPOT"}

    def takes(self, disk_type: str) -> bool:
        """Whether it takes such a disk; the newer ones of a family that takes both take either."""
        only = self.name.partition("-")[0] in HYPERDISK_ONLY
        if only or self.is_bare_metal or self.name.startswith("a3-ultragpu-"):
            return disk_type == "hyperdisk-balanced"
        if self.name.startswith(("a3-", "c3-", "c3d-", "h3-", "m3-", "z3-")):
            return disk_type in ("hyperdisk-balanced", "pd-balanced", "pd-ssd")
        return disk_type.startswith("pd-")


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
        Kind("a3-highgpu-1g", 26, 239616, gpu="nvidia-h100-80gb", gpus=1, ssd_tib=0.73),
        Kind("a3-highgpu-8g", 208, 1916928, gpu="nvidia-h100-80gb", gpus=8, ssd_tib=5.9),
        Kind("a3-ultragpu-8g", 224, 3022848, gpu="nvidia-h200-141gb", gpus=8, ssd_tib=11.7),
        Kind("c3-standard-192-metal", 192, 786432),
        Kind("z3-highmem-8-highlssd", 8, 65536, ssd_tib=2.9),
        Kind("z3-highmem-88-highlssd", 88, 720896, ssd_tib=35.2),
    )
}
# In one zone of each region alone.
ONLY_IN_C = {"a4x-highgpu-4g"}
ATTACHABLE = ("nvidia-tesla-t4", "nvidia-tesla-p100", "nvidia-tesla-v100", "nvidia-tesla-p4")
# These machine families take no other disks.
HYPERDISK_ONLY = ("a4", "a4x", "c4", "c4a", "c4d", "c4n", "g4", "h4d", "m4", "m4n", "n4", "n4a",
                  "n4d", "x4")  # fmt: skip


UEFI = ("UEFI_COMPATIBLE", "GVNIC", "VIRTIO_SCSI_MULTIQUEUE")


@dataclass(frozen=True)
class Image:
    """A public image, by its project and family."""

    project: str
    family: str
    arch: str = "X86_64"
    disk_gb: int = 20
    features: tuple[str, ...] = UEFI

    @property
    def name(self) -> str:
        return f"{self.family}-v20261101"

    @property
    def path(self) -> str:
        return f"projects/{self.project}/global/images/{self.name}"


IMAGES = (
    Image("rocky-linux-cloud", "rocky-linux-9-optimized-gcp", features=(*UEFI, "IDPF")),
    Image(
        "rocky-linux-cloud", "rocky-linux-9-optimized-gcp-arm64", "ARM64", features=(*UEFI, "IDPF")
    ),
    Image("deeplearning-platform-release", "common-cu129-ubuntu-2204-nvidia-580", disk_gb=50),
    Image(PROJECT, "own-image", features=("VIRTIO_SCSI_MULTIQUEUE",)),
)


def kind_of(name: str) -> Kind | None:
    """A machine type by its name."""
    return _KINDS.get(name)


def kinds_called(name: str) -> list[Kind]:
    """The machine type of this name, or all."""
    return [kind for kind in _KINDS.values() if name in ("", kind.name)]


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
                    (kind.hardware.local_disk_gib or 0) / 1024,
                ),
            )
