"""What a machine size of the price book is on Azure: where it is offered, and its image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlbroker.broker.clouds.azure.calls import Calls, translated
from mlbroker.broker.clouds.azure.images import (
    PLAIN,
    PLAIN_GEN1,
    WITH_DRIVER,
    image_named,
    plan_of,
)
from mlbroker.broker.clouds.interface import NoCapacity, Unfit


@dataclass(frozen=True, slots=True)
class Size:
    """One machine size in one region, as this subscription may have it."""

    arch: str
    is_gen2: bool
    has_gpu: bool
    takes_premium: bool
    is_trusted: bool
    zones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything about the machine itself."""

    size: str
    image: Mapping[str, str]
    disk_type: str
    is_trusted: bool
    plan: Mapping[str, str] | None = None


def sizes(calls: Calls, region: str) -> Mapping[str, Size]:
    """All sizes that can be had in a region, asked for once."""
    if region not in calls.skus:
        with translated(f"azure {region}"):
            listed = list(calls.compute.resource_skus.list(filter=f"location eq '{region}'"))
        found = {
            str(sku.name): _size(sku)
            for sku in listed
            if sku.resource_type == "virtualMachines" and not _is_barred(sku)
        }
        calls.skus[region] = found
    return calls.skus[region]


def zones_offering(calls: Calls, region: str, name: str) -> tuple[str, ...]:
    """`eastus-1` … for a size that is offered by zone, `eastus` for one that is not."""
    size = sizes(calls, region).get(name)
    if size is None:
        return ()
    return tuple(f"{region}-{zone}" for zone in size.zones) or (region,)


def shape_of(calls: Calls, region: str, name: str, image_id: str | None) -> Shape:
    """Look the size up, and choose the image for it."""
    size = sizes(calls, region).get(name)
    if size is None:
        raise NoCapacity(
            f"{name} is not offered in {region} to this subscription", where=f"azure {region}"
        )
    image = image_named(image_id or _usual_image(size, name))
    return Shape(
        name,
        image,
        "Premium_LRS" if size.takes_premium else "StandardSSD_LRS",
        # What an image of the user's own can do is not known here.
        size.is_trusted and size.is_gen2 and image_id is None and not size.has_gpu,
        plan_of(calls, region, image) if image_id else None,
    )


def _usual_image(size: Size, name: str) -> str:
    if not size.has_gpu:
        return PLAIN[size.arch] if size.is_gen2 else PLAIN_GEN1
    if size.arch != "x64":
        raise Unfit(
            f"mlbroker knows no image with NVIDIA's driver for {name}",
            where="resources.image_id",
            hint="Name one: image_id: PUBLISHER:OFFER:SKU:VERSION",
        )
    return WITH_DRIVER


def _size(sku: Any) -> Size:
    can = {str(c.name): str(c.value) for c in sku.capabilities or ()}
    barred = {
        zone
        for restriction in sku.restrictions or ()
        if restriction.type == "Zone" and restriction.restriction_info
        for zone in restriction.restriction_info.zones or ()
    }
    offered = {zone for info in sku.location_info or () for zone in info.zones or ()}
    return Size(
        can.get("CpuArchitectureType", "x64"),
        "V2" in can.get("HyperVGenerations", "V1"),
        can.get("GPUs", "0") != "0",
        can.get("PremiumIO") == "True",
        can.get("TrustedLaunchDisabled") != "True",
        tuple(sorted(offered - barred)),
    )


def _is_barred(sku: Any) -> bool:
    return any(restriction.type == "Location" for restriction in sku.restrictions or ())
