"""`mlbroker init --cloud`: writes what an account needs, for its owner to look over and apply."""

from typing import NamedTuple

from mlbroker.broker.clouds import clouds_with, role_of
from mlbroker.broker.clouds.rented import Form
from mlbroker.broker.errors import InputError
from mlbroker.pricing.vendors import vendor


class Setup(NamedTuple):
    """What to write, and what to do with it."""

    file: str
    text: str
    apply: str


def setup_of(cloud: str, region: str | None, form: str | None) -> Setup:
    """The set-up of a cloud's region, in the wanted form or in the vendor's own."""
    clouds = clouds_with("setup")
    if cloud not in clouds:
        raise InputError(
            f"nothing to set up for {cloud!r}",
            where="--cloud",
            hint=f"Known: {', '.join(clouds)}.",
        )
    setup = role_of(cloud, "setup")
    forms: dict[str, Form] = setup.FORMS
    if form is not None and form not in forms:
        raise InputError(
            f"no such form: {form!r}", where="--form", hint=f"Known: {', '.join(forms)}."
        )
    chosen = forms[form or next(iter(forms))]
    place = region or vendor(cloud).usual_region or ""
    if not place.replace("-", "").isalnum() or not place.isascii():
        raise InputError("is no region's name", where="--region")
    file = f"mlbroker-{cloud}-{place}{chosen.ending}"
    return Setup(file, chosen.write(place), chosen.apply.format(region=place, file=file))
