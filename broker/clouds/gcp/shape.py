"""What a machine type of the price book is on Compute Engine: its image, disk and accelerators."""

from dataclasses import dataclass
from typing import Any

from mlbroker.broker.clouds.gcp.calls import Calls, translated
from mlbroker.broker.clouds.interface import Denied, Intent, NoCapacity
from mlbroker.broker.clouds.rented import refuse_unfit_image

# Rocky Linux brings pip's wheels along, so that a job can have an environment of its own.
PLAIN = {
    "X86_64": "projects/rocky-linux-cloud/global/images/family/rocky-linux-9-optimized-gcp",
    "ARM64": "projects/rocky-linux-cloud/global/images/family/rocky-linux-9-optimized-gcp-arm64",
}
WITH_DRIVER = (
    "projects/deeplearning-platform-release/global/images/family/"
    "common-cu129-ubuntu-2204-nvidia-580"
)
# Families that take no other disks (cloud.google.com/compute/docs/disks, 2026-11).
HYPERDISK_ONLY = frozenset(
    {"a4", "a4x", "c4", "c4a", "c4d", "c4n", "g4", "m4", "m4n", "n4", "n4a", "n4d"}
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything about the machine itself. `attached` are accelerators put into it."""

    machine_type: str
    attached: str | None
    attached_count: int
    has_gpu: bool
    image: str
    image_is_uefi: bool
    disk_type: str


def split_type(name: str) -> tuple[str, str | None, int]:
    """`n1-standard-4+nvidia-tesla-t4:1` is a machine type, and what is attached to it."""
    machine_type, _, attached = name.partition("+")
    if not attached:
        return machine_type, None, 0
    accelerator, _, count = attached.partition(":")
    if not accelerator or not count.isdigit():
        raise Denied(f"not a machine type of Google Cloud: {name}", where="gcp")
    return machine_type, accelerator, int(count)


def shape_of(calls: Calls, zone: str, intent: Intent) -> Shape:
    """Look the machine type up, and choose the image for it."""
    machine_type, attached, count = split_type(intent.instance_type)
    where = f"gcp {zone}"
    with translated(where):
        from google.api_core.exceptions import NotFound

        try:
            facts = calls.client("MachineTypes").get(
                project=calls.project, zone=zone, machine_type=machine_type, **calls.reading
            )
        except NotFound:
            raise NoCapacity(f"{machine_type} is not offered in {zone}", where=where) from None
    arch = str(facts.architecture) or "X86_64"
    has_gpu = attached is not None or bool(facts.accelerators)
    image = _image(calls, intent.image_id or _usual_image(intent.instance_type, arch, has_gpu))
    made_for = image.architecture or arch
    refuse_unfit_image(intent, image.name, made_for, arch, image.disk_size_gb)
    family = machine_type.partition("-")[0]
    return Shape(
        machine_type,
        attached,
        count,
        has_gpu,
        str(image.self_link).partition("/compute/v1/")[2],
        any(feature.type_ == "UEFI_COMPATIBLE" for feature in image.guest_os_features),
        "hyperdisk-balanced" if family in HYPERDISK_ONLY else "pd-balanced",
    )


def _usual_image(name: str, arch: str, has_gpu: bool) -> str:
    if not has_gpu:
        return PLAIN[arch]
    if arch != "X86_64":
        raise Denied(
            f"mlbroker knows no image with NVIDIA's driver for {name}",
            where="resources.image_id",
            hint="Name one: image_id: projects/PROJECT/global/images/NAME",
        )
    return WITH_DRIVER


def _image(calls: Calls, path: str) -> Any:
    """The newest of a family, or one by its name."""
    parts = path.partition("/compute/v1/")[2].split("/") if "://" in path else path.split("/")
    match parts:
        case ["projects", project, "global", "images", "family", family]:
            wanted = {"project": project, "family": family}
        case ["projects", project, "global", "images", name]:
            wanted = {"project": project, "image": name}
        case _:
            raise Denied(
                f"{path} is not an image of Google Cloud",
                where="resources.image_id",
                hint="They are called projects/PROJECT/global/images/NAME, or …/family/NAME; "
                "leave it out for Rocky Linux.",
            )
    client = calls.client("Images")
    with translated("resources.image_id"):
        call = client.get_from_family if "family" in wanted else client.get
        return call(**wanted, **calls.reading)
