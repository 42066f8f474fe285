"""Where a machine may be: `infra`, or cloud, region and zone; and the images, which have a place.

A zone tells its region, and an image its cloud: neither is asked for twice.
"""

import re
from typing import NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.remarks import Remarks
from mlbroker.broker.files.values import matching
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import Node, quoted
from mlbroker.profiles.job import DataLocation

LEVELS = ("cloud", "region", "zone")
# A name as clouds use them.
place_name = matching(
    r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}",
    "a name",
    "letters, digits, dot, dash and underscore only",
)
_image_name = matching(r"[A-Za-z0-9/][A-Za-z0-9._:/@+-]{0,299}", "the name of an image")
# SkyPilot's places whose second part is the name of a cluster (an ARN has slashes) or of a pool.
CLUSTERS = ("k8s", "kubernetes", "ssh")
# The zones us-east-1a and us-west-2-lax-1a (a local one) of AWS, us-central1-a of Google Cloud,
# and eastus-1 of Azure, where a zone is also written 1: https://docs.aws.amazon.com/AWSEC2/latest/
# UserGuide/using-regions-availability-zones.html, https://cloud.google.com/compute/docs/regions-zones
_ZONES = (
    re.compile(r"([a-z]{2}(?:-[a-z]+)+-\d+)(?:-[a-z0-9]+-\d+)?[a-z]"),
    re.compile(r"([a-z]+-[a-z]+\d+)-[a-z]"),
    re.compile(r"([a-z]+\d*)-\d"),
)
_LONE_ZONE = re.compile(r"\d|[a-z]")
# What the images of each cloud are called.
_IMAGES = (
    (re.compile(r"ami-.*"), "aws"),
    (re.compile(r"projects/.*|https://www\.googleapis\.com/compute/.*"), "gcp"),
    (re.compile(r"/(?:subscriptions|CommunityGalleries|SharedGalleries)/.*", re.I), "azure"),
    (re.compile(r"ocid1\..*"), "oci"),
    (re.compile(r"(?:[^:/]+:){3}[^:/]+"), "azure"),
)
_DOCKER, _SKYPILOT = "docker:", "skypilot:"
_IN_IMAGE = "docker"  # beside the images of regions: the container that runs in them
_ARCHITECTURES = {
    "x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64",
}  # fmt: skip


class Place(NamedTuple):
    """Cloud, region and zone; None where any will do."""

    cloud: str | None = None
    region: str | None = None
    zone: str | None = None


class Image(NamedTuple):
    """An image and where it can be used. `name` None: the usual one of the cloud."""

    name: str | None
    place: Place
    arch: str | None = None


def read_place(fields: Fields) -> Place:
    """The place of `infra`, or of cloud, region and zone; the region is also told by the zone."""
    infra = fields.value("infra", split_infra)
    apart = [key for key in LEVELS if fields.node(key) is not None]
    if infra is not None and apart:
        fields.fail(apart[0], f"infra and {apart[0]} exclude each other", "keep infra")
    cloud, region, zone = infra or Place(*(fields.value(key, place_name) for key in LEVELS))
    if zone is not None:
        key = "infra" if infra else "zone"
        told = next((found[1] for z in _ZONES if (found := z.fullmatch(zone.lower()))), None)
        if told is None and region is None:
            fields.fail(key, f"the zone {quoted(zone)} tells no region", "name the region too")
        if told is not None and region not in (None, told) and not _LONE_ZONE.fullmatch(zone):
            fields.fail(key, f"the zone {quoted(zone)} is not in the region {quoted(region or '')}")
        region = region or told
    return Place(cloud and cloud.lower(), region, zone)


def split_infra(text: str) -> Place:
    """`aws`, `aws/us-east-1` or `aws/us-east-1/us-east-1a`, with `*` for any; `k8s/CONTEXT`."""
    parts = text.strip().split("/")
    if parts[0].lower() in CLUSTERS:
        return Place(parts[0].lower(), "/".join(parts[1:]) or None)
    if len(parts) > 3 or not all(parts):
        raise InputError(
            f"{quoted(text)} is not a place", hint="write cloud, cloud/region or cloud/region/zone"
        )
    cloud, region, zone = (
        None if part == "*" else place_name(part) for part in [*parts, "*", "*"][:3]
    )
    return Place(cloud and cloud.lower(), region, zone)


def parse_place(text: str) -> DataLocation:
    """`aws` or `aws/us-east-1`."""
    cloud, region, zone = split_infra(text)
    if cloud is None or zone is not None:
        raise InputError(f"{quoted(text)} is not a place", hint="write aws or aws/us-east-1")
    return DataLocation(cloud, region)


def inherited_place(common: Fields, own: set[str]) -> dict[str, tuple[int, Node]]:
    """What of the common place holds for an alternative with keys of its `own`.

    Its region replaces the common region and zone, and its cloud all of them.
    """
    if "infra" in own:
        return {}
    line = common.line("infra")
    place = common.value("infra", split_infra)
    shared = {
        key: (line, _scalar(line, value))
        for key, value in zip(LEVELS, place or (), strict=False)
        if value is not None
    }
    for key in LEVELS:
        node = common.node(key)
        if node is not None:
            shared[key] = (node.line, node)
    highest = next((level for level, key in enumerate(LEVELS) if key in own), len(LEVELS))
    return {key: value for key, value in shared.items() if LEVELS.index(key) < highest}


def _scalar(line: int, text: str) -> Node:
    node = Node(line)
    node.text = text
    return node


def read_images(fields: Fields, place: Place, remarks: Remarks) -> list[Image]:
    """The machine images that will do, each with its place: a mapping has one for each region."""
    node = fields.node("image_id")
    if node is None:
        return [Image(None, place)]
    if node.fields is None:
        name = fields.value("image_id", _image_name)
        assert name is not None
        return [_placed(fields, name, place, remarks)]
    images = Fields(node, fields.name_of("image_id"), fields.source)
    by_region = {region: images.required(region, _image_name) for region in images}
    if (container := by_region.pop(_IN_IMAGE, None)) is not None:
        remarks.not_run.append(_container(images.name_of(_IN_IMAGE), container))
        if not by_region:
            return [Image(None, place, arch_of(container))]
    if place.region is not None:
        if place.region not in by_region:
            fields.fail(
                "image_id", f"has no image for the region {quoted(place.region)}", "name one"
            )
        by_region = {place.region: by_region[place.region]}
    return [
        _placed(fields, name, place._replace(region=region), remarks)
        for region, name in by_region.items()
    ]


def _container(key: str, name: str) -> str:
    return f"{key}: {name} is a container, and mlbroker starts jobs on plain machines"


def _placed(fields: Fields, name: str, place: Place, remarks: Remarks) -> Image:
    key, arch = fields.name_of("image_id"), arch_of(name)
    if name.startswith(_DOCKER):
        remarks.not_run.append(_container(key, name))
        return Image(None, place, arch)
    if name.startswith(_SKYPILOT):
        remarks.said.append(
            f"{key}: {name} is SkyPilot's; the cloud's usual image is taken in its place."
        )
        return Image(None, place, arch)
    cloud = next((cloud for pattern, cloud in _IMAGES if pattern.fullmatch(name)), None)
    if cloud is not None and place.cloud not in (None, cloud):
        fields.fail("image_id", f"{quoted(name)} is an image of {cloud}, not of {place.cloud}")
    if cloud == "aws" and place.region is None:
        remarks.said.append(
            f"{key}: {name} lies in one region of AWS, and the file does not say in which:"
            " name it (`infra: aws/REGION`), else a run is refused where it is not."
        )
    return Image(name, place._replace(cloud=place.cloud or cloud), arch)


def parse_arch(text: str) -> str:
    """The architecture by either of its names."""
    if text not in _ARCHITECTURES:
        raise InputError(f"{quoted(text)} is no architecture", hint="write x86_64 or arm64")
    return _ARCHITECTURES[text]


def arch_of(image: str) -> str:
    """Images are made for one architecture; without another word in the name that is x86-64."""
    return "arm64" if any(mark in image.lower() for mark in ("arm", "aarch64")) else "x86_64"
