"""What a machine type of the price book is on Compute Engine: its image, disk and accelerators."""

from dataclasses import dataclass
from typing import Any

from mlbroker.broker.clouds.gcp.calls import Calls, translated
from mlbroker.broker.clouds.interface import Denied, Intent, NoCapacity, Unfit
from mlbroker.broker.clouds.rented import refuse_unfit_image
from mlbroker.pricing.gcp_types import is_bare_metal, only_stops, takes_only_hyperdisk

# Rocky Linux brings pip's wheels along, so that a job can have an environment of its own.
PLAIN = {
    "X86_64": "projects/rocky-linux-cloud/global/images/family/rocky-linux-9-optimized-gcp",
    "ARM64": "projects/rocky-linux-cloud/global/images/family/rocky-linux-9-optimized-gcp-arm64",
}
WITH_DRIVER = (
    "projects/deeplearning-platform-release/global/images/family/"
    "common-cu129-ubuntu-2204-nvidia-580"
)
# The network card of bare metal, and what an image says that has its driver.
METAL_CARD = "IDPF"


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything about the machine itself. `attached` are accelerators put into it.

    `moves` says whether it can go to another host at maintenance, or only stop.
    """

    machine_type: str
    attached: str | None
    attached_count: int
    has_gpu: bool
    image: str
    shielded: bool
    hyperdisk: bool
    moves: bool

    @property
    def is_bare_metal(self) -> bool:
        """Whether there is no hypervisor under it."""
        return is_bare_metal(self.machine_type)


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
    features = {str(feature.type_) for feature in image.guest_os_features}
    metal = is_bare_metal(machine_type)
    if metal and METAL_CARD not in features:
        raise Unfit(
            f"image {image.name} has no driver for the network of {machine_type}, {METAL_CARD}",
            where="resources.image_id",
        )
    return Shape(
        machine_type,
        attached,
        count,
        has_gpu,
        str(image.self_link).partition("/compute/v1/")[2],
        "UEFI_COMPATIBLE" in features and not metal,
        takes_only_hyperdisk(machine_type),
        not has_gpu and not only_stops(machine_type),
    )


def _usual_image(name: str, arch: str, has_gpu: bool) -> str:
    if not has_gpu:
        return PLAIN[arch]
    if arch != "X86_64":
        raise Unfit(
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
