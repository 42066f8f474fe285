"""Whether jobs can be sent to the clusters of the nodes file: asked for real, nothing is left."""

import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from mlbroker.broker.clouds.checks import Check, tried
from mlbroker.broker.clouds.kubernetes.access import access_to
from mlbroker.broker.clouds.kubernetes.calls import Calls
from mlbroker.broker.clouds.kubernetes.places import Place, Places
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.home import home

# What a run asks for, by resource. Without `events` it only says less of what waits.
RIGHTS = {
    "jobs": ("get", "list", "create", "delete"),
    "pods": ("list", "delete"),
    "pods/log": ("get",),
    "secrets": ("create",),
    "events": ("list",),
}
_GROUPS = {"jobs": "batch"}
_HINT = "See docs/kubernetes.md."


def checks(regions: tuple[str, ...], now: datetime) -> Iterator[Check]:
    """Of each place: its cluster answers, the rights are there, the volume can be written."""
    places = Places(home()).described()
    if not places:
        what = "no node of the nodes file has `kubernetes:`"
        yield Check("nodes", False, what, "docs/kubernetes.md shows one.")
    for place in places:
        try:
            calls = Calls(lambda place=place: access_to(place.cluster))  # type: ignore[misc]
            calls.list("jobs", labelSelector="mlbroker-token=none")
        except MlbrokerError as error:
            yield Check(f"{place.name}: cluster", False, error.what, error.hint or _HINT)
            continue
        yield Check(f"{place.name}: cluster", True, f"{calls.where}, namespace {calls.namespace}")
        yield tried(f"{place.name}: rights", partial(_rights, calls), _HINT)
        yield tried(f"{place.name}: volume", partial(_volume, place), _HINT)


def policies(account: str | None, region: str) -> str:
    """The least rights that do, as a Role of the namespace."""
    rules = "".join(
        f'- apiGroups: ["{_GROUPS.get(resource, "")}"]\n'
        f"  resources: [{resource}]\n  verbs: [{', '.join(verbs)}]\n"
        for resource, verbs in RIGHTS.items()
    )
    head = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: mlbroker}\n"
    return f"{head}rules:\n{rules}".rstrip()


def _rights(calls: Calls) -> str:
    wanted = [(verb, *resource.split("/")) for resource, verbs in RIGHTS.items() for verb in verbs]
    missing = [f"{one[0]} {'/'.join(one[1:])}" for one in wanted if not calls.may(*one)]
    if missing:
        raise MlbrokerError(
            f"not allowed in {calls.namespace}: {', '.join(missing)}",
            hint="`mlbroker doctor --cloud kubernetes --policies` prints the role it takes.",
        )
    return "all that a run asks for is allowed"


def _volume(place: Place) -> str:
    folder = Path(place.cluster.folder)
    if not folder.is_dir():
        raise MlbrokerError(
            f"there is no folder {folder}", hint=f"Mount the volume {place.cluster.claim} there."
        )
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"mlbroker")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise MlbrokerError(f"{folder} cannot be written: {error.strerror}") from None
    return f"{folder} can be written; that it is the claim {place.cluster.claim} shows a first run"
