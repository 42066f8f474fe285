"""Which image a machine on Azure starts from, and the plan of the Marketplace that it carries.

A plan is asked for with the machine, also where the image is a copy in a compute gallery: its
definition keeps the plan (learn.microsoft.com/azure/virtual-machines/marketplace-images).
"""

import re
from collections.abc import Mapping
from typing import Any

from mlbroker.broker.clouds.azure.calls import Calls, translated
from mlbroker.broker.clouds.interface import Denied, Unfit

# Images of the Marketplace that carry a plan are refused until its terms were accepted; Canonical's
# and Microsoft's carry none. What Ubuntu leaves out, the machine installs (user_data.py).
PLAIN = {
    "x64": "Canonical:ubuntu-24_04-lts:server:latest",
    "Arm64": "Canonical:ubuntu-24_04-lts:server-arm64:latest",
}
PLAIN_GEN1 = "Canonical:ubuntu-24_04-lts:server-gen1:latest"
WITH_DRIVER = "microsoft-dsvm:ubuntu-hpc:2204:latest"
_WHERE = "resources.image_id"
_URN_PARTS = ("publisher", "offer", "sku", "version")
_GALLERIES_VERSION = "2024-03-03"
_NAME = r"[-\w.()]+"
_GALLERY = re.compile(
    rf"(/subscriptions/{_NAME}/resourceGroups/{_NAME}/providers/Microsoft\.Compute/galleries/{_NAME}"
    rf"/images/{_NAME})(?:/versions/{_NAME})?",
    re.IGNORECASE,
)
# `az vm create` takes them so; here the version may be left out, as in one's own gallery.
_OTHERS_GALLERY = re.compile(
    rf"/(Community|Shared)Galleries/({_NAME})/Images/({_NAME})(?:/Versions/{_NAME})?", re.IGNORECASE
)


def image_named(image_id: str) -> Mapping[str, str]:
    """What a job calls an image, as `imageReference` of a machine."""
    other = _OTHERS_GALLERY.fullmatch(image_id)
    if other is not None:
        return {f"{other[1].lower()}GalleryImageId": image_id}
    if image_id.lower().startswith("/subscriptions/"):
        return {"id": image_id}
    parts = image_id.split(":")
    if len(parts) != len(_URN_PARTS) or not all(parts):
        raise Denied(
            f"{image_id} is not an image of Azure",
            where=_WHERE,
            hint="They are called PUBLISHER:OFFER:SKU:VERSION, /subscriptions/…, "
            "/CommunityGalleries/… or /SharedGalleries/…; leave it out for Ubuntu.",
        )
    return dict(zip(_URN_PARTS, parts, strict=True))


def plan_of(calls: Calls, region: str, image: Mapping[str, str]) -> Mapping[str, str] | None:
    """The plan that an image carries; a machine is asked for with it.

    A managed image (`…/images/NAME`) has no place for one.
    """
    if "publisher" in image:
        return _published_plan(calls, region, image)
    path = _definition(calls, region, next(iter(image.values())))
    if path is None:
        return None
    definition = calls.ask("GET", path, _GALLERIES_VERSION, _WHERE)
    if definition is None:
        raise Unfit(f"there is no image {path}, or it may not be read", where=_WHERE)
    return _plan(definition["properties"].get("purchasePlan"))


def how_to_accept(plan: Mapping[str, str]) -> str:
    """The command that accepts the terms of a plan, in words."""
    told = f"--publisher {plan['publisher']} --offer {plan['product']} --plan {plan['name']}"
    return (
        f"Read them: az vm image terms show {told}. Whoever may accept them for the subscription "
        f"does so once: az vm image terms accept {told}"
    )


def _definition(calls: Calls, region: str, image_id: str) -> str | None:
    """Where the definition of a gallery's image is read; None for what is in no gallery."""
    own = _GALLERY.fullmatch(image_id)
    if own is not None:
        return own[1]
    other = _OTHERS_GALLERY.fullmatch(image_id)
    if other is None:
        return None
    kind, gallery, name = other.groups()
    return (
        f"/subscriptions/{calls.subscription}/providers/Microsoft.Compute/locations/{region}/"
        f"{kind.lower()}Galleries/{gallery}/images/{name}"
    )


def _published_plan(
    calls: Calls, region: str, image: Mapping[str, str]
) -> Mapping[str, str] | None:
    where = (region, image["publisher"], image["offer"], image["sku"])
    published, version = calls.compute.virtual_machine_images, image["version"]
    with translated(_WHERE):
        from azure.core.exceptions import ResourceNotFoundError

        try:
            if version == "latest":
                newest = published.list(*where, top=1, orderby="name desc")
                version = str(newest[0].name) if newest else version
            return _plan(published.get(*where, version).plan)
        except ResourceNotFoundError as error:
            # Another region may have it.
            raise Unfit(f"{':'.join(image.values())}: {error.message}", where=_WHERE) from None


def _plan(told: Any) -> Mapping[str, str] | None:
    """Templates write an empty one where there is none."""
    if not told or not told.get("name"):
        return None
    return {part: str(told[part]) for part in ("name", "publisher", "product")}
