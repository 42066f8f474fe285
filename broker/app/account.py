"""This machine and a cloud's account: what they need once, and whether all of it is there."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mlbroker.broker.clouds import clouds_with, role_of
from mlbroker.broker.clouds.checks import Check
from mlbroker.broker.clouds.library import library
from mlbroker.broker.clouds.rented import Form
from mlbroker.broker.errors import InputError
from mlbroker.broker.ledger import LedgerError, open_ledger
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
    with library(cloud):
        text = chosen.write(place)
    return Setup(file, text, chosen.apply.format(region=place, file=file))


def checked(state: Path, cloud: str | None, regions: Sequence[str]) -> list[Check]:
    """What was found, by trying: of this machine, and of a cloud's account."""
    _refuse_unknown(cloud)
    found = list(_here(state))
    if cloud is not None:
        with library(cloud):
            found += role_of(cloud, "doctor").checks(tuple(regions), datetime.now(UTC))
    return found


def least_rights(cloud: str, region: str) -> str:
    """The least rights that do, as the vendor writes them."""
    _refuse_unknown(cloud)
    with library(cloud):
        text: str = role_of(cloud, "doctor").policies(None, region)
    return text


def _refuse_unknown(cloud: str | None) -> None:
    """Only some clouds have a check-up."""
    known = clouds_with("doctor")
    if cloud is not None and cloud not in known:
        raise InputError(
            f"there is no check-up for {cloud!r}",
            where="--cloud",
            hint=f"There is one for: {', '.join(known)}.",
        )


def _here(state: Path) -> Iterator[Check]:
    folder = next(f for f in (state, *state.parents) if f.exists())
    if os.access(folder, os.W_OK):
        yield Check("state folder", True, str(state))
    else:
        hint = "Make it writable, or set MLBROKER_HOME to one that is."
        yield Check("state folder", False, f"{state} cannot be written", hint)
    ledger = open_ledger(state)
    try:
        damage = ledger.verify()
        open_runs = ledger.open_runs() if not damage else []
    except LedgerError as error:
        yield Check("ledger", False, error.what, error.hint or "")
        return
    if damage is not None:
        yield Check("ledger", False, damage.what, "Restore a backup of the state folder.")
    else:
        where = f"on {ledger.team}: " if ledger.team else ""
        yield Check("ledger", True, f"{where}the chain holds; {len(open_runs)} runs are open")
