"""Which image a machine starts with: told by its hardware, named by AWS's public parameters."""

from typing import Any, NamedTuple

from mlbroker.broker.clouds.aws.calls import Calls, translated
from mlbroker.broker.clouds.interface import Denied, Intent
from mlbroker.broker.clouds.rented import refuse_unfit_image

PLAIN = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{arch}"
WITH_DRIVER = (
    "/aws/service/deeplearning/ami/{arch}/"
    "base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id"
)


class Image(NamedTuple):
    """An image with what a launch must know of it."""

    id: str
    root_device: str
    least_gb: int


def choose_image(calls: Calls, intent: Intent) -> Image:
    """The user's own image, else Amazon Linux, with NVIDIA's driver where there is a GPU."""
    region, image_id = intent.region, intent.image_id
    arch, gpu = _hardware(calls, region, intent.instance_type)
    if image_id is None:
        name = (WITH_DRIVER if gpu else PLAIN).format(arch=arch)
        with translated(f"aws {region}"):
            parameter = calls.client("ssm", region).get_parameter(Name=name)
        image_id = str(parameter["Parameter"]["Value"])
    elif not image_id.startswith("ami-"):
        raise Denied(
            f"{image_id} is not an image of AWS",
            where="resources.image_id",
            hint="AWS's images are called ami-…; leave it out for Amazon Linux.",
        )
    with translated(f"aws {region}"):
        found = calls.listed("ec2", region, "describe_images", "Images", ImageIds=[image_id])
    if not found:
        raise Denied(f"there is no image {image_id} in {region}", where="resources.image_id")
    image = _image(found[0])
    refuse_unfit_image(intent, image_id, found[0]["Architecture"], arch, image.least_gb)
    return image


def _hardware(calls: Calls, region: str, instance_type: str) -> tuple[str, bool]:
    with translated(f"aws {region}"):
        (facts,) = calls.listed(
            "ec2", region, "describe_instance_types", "InstanceTypes", InstanceTypes=[instance_type]
        )
    supported = facts["ProcessorInfo"]["SupportedArchitectures"]
    makers = {gpu.get("Manufacturer") for gpu in facts.get("GpuInfo", {}).get("Gpus", [])}
    return "x86_64" if "x86_64" in supported else "arm64", "NVIDIA" in makers


def _image(facts: dict[str, Any]) -> Image:
    root = facts.get("RootDeviceName") or "/dev/xvda"
    sizes = [
        mapping["Ebs"].get("VolumeSize", 0)
        for mapping in facts.get("BlockDeviceMappings", [])
        if mapping.get("DeviceName") == root and "Ebs" in mapping
    ]
    return Image(str(facts["ImageId"]), root, int(max(sizes, default=0)))
