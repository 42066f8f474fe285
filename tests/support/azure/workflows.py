"""Logic Apps that run on the virtual clock, and the rights that are given on groups."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.support.azure.catalog import REGIONS, SUBSCRIPTION
from tests.support.azure.documents import PRINCIPALS
from tests.support.azure.faults import AzureFaults
from tests.support.azure.schema import found, refuse
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_http import Answer, TokenRequest

from mlbroker.broker.clouds.azure.kill import role_id
from mlbroker.broker.clouds.azure.names import Names

# A trigger fires a little late.
LATE_S = 10.0
_OFFSET = re.compile(r"T.*[+-]")
_BODY = frozenset({"location", "tags", "identity", "properties"})
_DELETE = re.compile(
    rf"https://management\.azure\.com/subscriptions/{SUBSCRIPTION}/resourceGroups/([^/?]+)"
    r"\?api-version=[-0-9]+&forceDeletionTypes=Microsoft\.Compute/virtualMachines"
)


class Rights:
    """Which identity may delete which group."""

    def __init__(self) -> None:
        self._groups: dict[str, set[str]] = {}

    def may_delete(self, group: str, identity: str) -> bool:
        principal = PRINCIPALS.get(identity)
        return principal in self._groups.get(group.lower(), ())

    def forget(self, group: str) -> None:
        self._groups.pop(group.lower(), None)

    def answer(self, group: str, name: str, body: Any) -> Answer:
        given = (body or {}).get("properties", {})
        if set(given) != {"roleDefinitionId", "principalId", "principalType"}:
            return refuse(400, "InvalidRequestContent", "The request content was invalid.")
        if given["principalId"] not in PRINCIPALS.values():
            return refuse(400, "PrincipalNotFound", "Principal does not exist in the directory.")
        if given["roleDefinitionId"].rpartition("/")[2] != role_id(SUBSCRIPTION):
            return refuse(400, "RoleDefinitionDoesNotExist", "The role does not exist.")
        self._groups.setdefault(group.lower(), set()).add(given["principalId"])
        return found({"name": name, **body}, "201 Created")


class Workflows:
    """All workflows by their name. What they do is to delete a group, with their identity."""

    def __init__(
        self,
        clock: VirtualClock,
        faults: AzureFaults,
        rights: Rights,
        delete: Callable[[str, str], None],
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._rights = rights
        self._delete = delete
        self.all: dict[str, dict[str, Any]] = {}

    def answer(self, request: TokenRequest, name: str, body: Any) -> Answer:
        if request.method == "DELETE":
            there = self.all.pop(name, None)
            return Answer("200 OK" if there else "204 No Content")
        if request.method == "GET":
            there = self.all.get(name)
            return found(there) if there else refuse(404, "ResourceNotFound", f"No {name}.")
        said = _wrong(body)
        if said:
            return refuse(400, "InvalidTemplate", said)
        self.all[name] = body
        (trigger,) = body["properties"]["definition"]["triggers"].values()
        start = datetime.fromisoformat(trigger["recurrence"]["startTime"]).astimezone(UTC)
        late_s = self._faults.kill_late_s
        self._plan(name, body, (start - self._clock.now()).total_seconds() + late_s)
        return found({"name": name, **body}, "201 Created")

    def _plan(self, name: str, body: dict[str, Any], seconds: float) -> None:
        self._clock.after(max(0.0, seconds) + LATE_S, lambda: self._fire(name, body))

    def _fire(self, name: str, body: dict[str, Any]) -> None:
        if self.all.get(name) is not body:
            return
        definition = body["properties"]["definition"]
        (action,) = definition["actions"].values()
        (trigger,) = definition["triggers"].values()
        wanted = _DELETE.fullmatch(action["inputs"]["uri"])
        identity = action["inputs"]["authentication"]["identity"]
        may = wanted and self._rights.may_delete(wanted.group(1), identity)
        if wanted and may and self._faults.kill_works:
            self._delete(wanted.group(1), PRINCIPALS[identity])
        self._plan(name, body, 60.0 * trigger["recurrence"]["interval"] - LATE_S)


def _wrong(body: Any) -> str | None:
    if not isinstance(body, dict) or set(body) - _BODY or body.get("location") not in REGIONS:
        return "The template is not a workflow of this region."
    definition = body["properties"].get("definition", {})
    if body["properties"].get("state") != "Enabled":
        return "The loopback cloud wants workflows that are on."
    if set(definition) != {"$schema", "contentVersion", "triggers", "actions"}:
        return "The definition has other members."
    for trigger in definition["triggers"].values():
        recurrence = trigger.get("recurrence", {})
        if trigger["type"] != "Recurrence" or recurrence.get("frequency") != "Minute":
            return "The trigger is not valid."
        start = str(recurrence.get("startTime"))
        if set(recurrence) - {"timeZone"} != {"frequency", "interval", "startTime"}:
            return "The recurrence has other members."
        if start.endswith("Z") == ("timeZone" in recurrence) or _OFFSET.search(start):
            return "The start time is in UTC and ends with Z, or in the time zone that is named."
    identities = set(body.get("identity", {}).get("userAssignedIdentities", {}))
    for action in definition["actions"].values():
        inputs = action.get("inputs", {})
        if action["type"] != "Http" or inputs.get("method") != "DELETE":
            return "The action is not valid."
        if inputs["authentication"].get("identity") not in identities:
            return "The identity of the action is not the workflow's."
    known = {Names(SUBSCRIPTION, body["location"]).ender}
    return None if identities <= known else "The identity does not exist."
