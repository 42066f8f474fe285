"""Azure Resource Manager as far as mlbroker uses it: groups, machines, and what ends them."""

import json
import re
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from tests.support.azure import catalog, documents, links
from tests.support.azure.faults import AzureFaults
from tests.support.azure.limits import Limits
from tests.support.azure.machines import Event, Group, Machines, Operation, Vm
from tests.support.azure.schema import found, refuse, wrong_machine
from tests.support.azure.wishes import wrong_plan, wrong_wish
from tests.support.azure.workflows import Rights, Workflows
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_http import Answer, TokenRequest

from mlbroker.broker.clouds.azure.names import Names

NOTICE_S = 30.0
FAILS_AFTER_S = 8.0
DELETE_GROUP = "Microsoft.Resources/subscriptions/resourcegroups/delete"
EVICT = "Microsoft.Compute/virtualMachines/EvictSpotVM/action"
_ROOT = f"/subscriptions/{catalog.SUBSCRIPTION}"
_GROUP = re.compile(_ROOT + r"/resource[Gg]roups/([^/]+)(?:/providers/(.+))?")


class Arm:
    """The service. `started` is told of each machine when it runs, `ended` when it stops."""

    def __init__(
        self,
        clock: VirtualClock,
        faults: AzureFaults,
        url: Callable[[], str],
        started: Callable[[Vm], None],
        ended: Callable[[Vm], None],
    ) -> None:
        self.machines = Machines()
        self.limits = Limits(self.machines)
        self.rights = Rights()
        self.workflows = Workflows(clock, faults, self.rights, self._asked_to_delete)
        self.networks = documents.Networks()
        self.made: Counter[str] = Counter()
        # Images of the Marketplace, PUBLISHER:OFFER:SKU, whose terms the subscription accepted.
        self.terms_accepted: set[str] = set()
        # Spot machines are taken away this long after they run; None leaves them.
        self.preempt_after_s: float | None = None
        self._clock = clock
        self._faults = faults
        self._url = url
        self._started = started
        self._ended = ended
        for region in catalog.REGIONS:
            name = Names(catalog.SUBSCRIPTION, region).group
            self.machines.groups[name] = Group(name, region, {})

    def calm(self) -> None:
        """Plenty of everything, at once."""
        self.limits.clear()
        self.networks = documents.Networks()
        self.preempt_after_s = None
        self.machines.hidden_s = 0.0
        self.machines.spot_prices.clear()

    def console(self, id_: str) -> str:
        """What a machine wrote on its console; the executing guests put it here."""
        return ""

    # What the vendor, or the machine, does by itself.

    def delete_group(self, group: Group, caller: str) -> Operation:
        """Begin the end of a group and all that is in it; a second one changes nothing."""
        operation = self._operation(group.location)
        if self._faults.take("late_deletes"):
            before, group.state = group.state, "Deleting"
            operation.error = ("ResourceGroupDeletionBlocked", "Deletion failed. Try again.")

            def back() -> None:
                group.state = before
                operation.done_at = self._clock.now()

            self._clock.after(4.0, back)
            return operation
        if group.state != "Deleting":
            group.state, group.ender = "Deleting", caller
            for vm in self.machines.living(group.name):
                self.delete_machine(vm)
        self._clock.after(
            self.machines.shutdown_s + 5.0, partial(self._group_gone, group, operation)
        )
        return operation

    def stop(self, vm: Vm) -> None:
        """The system on the machine shut down: it stands still, and bills on."""
        if vm.ends_at is None and vm.stopped_at is None:
            vm.stopped_at = self._clock.now()
            self._ended(vm)

    def reprice(self, usd_per_hour: float) -> None:
        """Spot machines cost this from now on; those that may not cost as much are evicted."""
        self.machines.spot_prices.append((self._clock.now(), usd_per_hour))
        for vm in self.machines.living():
            if vm.market == "spot" and self.limits.too_dear(vm.body):
                self.preempt(vm)

    def preempt(self, vm: Vm) -> None:
        """Announce the end of a spot machine, half a minute ahead."""
        vm.notice_at = self._clock.now()
        self._clock.after(NOTICE_S, partial(self.take_away, vm))

    def take_away(self, vm: Vm) -> None:
        """Evicted: the policy says what is left of it."""
        if vm.ends_at is not None:
            return
        self._log(EVICT, vm)
        if vm.body["properties"].get("evictionPolicy") == "Delete":
            self.delete_machine(vm)
        else:
            self.stop(vm)

    def delete_machine(self, vm: Vm) -> None:
        """Begin its end, with its disk and address; a second one changes nothing."""
        if vm.ends_at is not None:
            return
        vm.ends_at = self._clock.now()
        vm.state = "Deleting" if not vm.is_failed else vm.state
        self._ended(vm)

        def gone() -> None:
            vm.gone_at = self._clock.now()
            links.taken_along(self.machines, vm.body)
            self._log("Microsoft.Compute/virtualMachines/delete", vm)

        self._clock.after(self.machines.shutdown_s, gone)

    def _group_gone(self, group: Group, operation: Operation) -> None:
        if not group.gone:
            group.gone = True
            self.rights.forget(group.name)
            links.forget(self.machines, group.name)
            path = f"{_ROOT}/resourceGroups/{group.name}"
            now = self._clock.now()
            event = Event(DELETE_GROUP, path, group.name, now, caller=group.ender)
            self.machines.events.append(event)
        operation.done_at = self._clock.now()

    def _asked_to_delete(self, name: str, caller: str) -> None:
        group = self.machines.group(name)
        if group is not None:
            self.delete_group(group, caller)

    def _log(
        self, what: str, vm: Vm, status: str = "Succeeded", at: datetime | None = None
    ) -> None:
        path = documents.machine_path(vm.group, vm.name)
        now = at or self._clock.now()
        group = self.machines.group(vm.group)
        caller = group.ender if group and group.ender else "you@example.com"
        self.machines.events.append(Event(what, path, vm.group, now, status, caller))

    def _operation(self, region: str) -> Operation:
        operation = Operation(str(uuid.uuid4()), region)
        self.machines.operations[operation.id] = operation
        return operation

    # The protocol.

    def answer(self, request: TokenRequest) -> Answer:
        if not request.query.get("api-version"):
            return refuse(400, "MissingApiVersionParameter", "The api-version is missing.")
        if not request.path.startswith(_ROOT):
            return refuse(404, "SubscriptionNotFound", "The subscription was not found.")
        if "galleries/" in request.path.lower():
            return documents.gallery_image(request.path)
        body = json.loads(request.body) if request.body else None
        matched = _GROUP.fullmatch(request.path)
        if matched is None:
            return self._everywhere(request, request.path.removeprefix(_ROOT))
        name, rest = matched.groups()
        if rest is None:
            return self._group(request, name, body)
        return self._resource(request, name, rest, body)

    def _everywhere(self, request: TokenRequest, path: str) -> Answer:
        words = path.strip("/").split("/")
        now = self._clock.now()
        if words[-1].lower() == "resourcegroups":
            groups = [g for g in self.machines.groups.values() if not g.gone]
            return self._page(request, [documents.group(one) for one in groups])
        if words[-1] == "virtualMachines":
            shown = self.machines.visible(now)
            return self._page(request, [documents.machine(vm, None) for vm in shown])
        if words[-1] == "skus":
            wanted = re.fullmatch(r"location eq '(\w+)'", request.query.get("$filter", ""))
            region = wanted.group(1) if wanted else "eastus"
            return self._page(request, [catalog.sku(s, region) for s in catalog.SIZES.values()])
        if "publishers" in words:
            return documents.image(words)
        if words[-1] == "usages":
            return self._page(request, self.limits.usages(words[-2]))
        if words[0] == "operationresults":
            return self._result(request, words[1])
        if words[-2] == "operations":
            operation = self.machines.operations.get(words[-1])
            if operation is None:
                return refuse(404, "NotFound", "The operation was not found.")
            return found(documents.operation(operation))
        if words[-1] == "values":
            return self._activity(request)
        return refuse(404, "InvalidResourceType", f"{path} is not part of the loopback cloud")

    def _page(self, request: TokenRequest, values: list[Any]) -> Answer:
        """Half of a list, and where the other half is: no list comes whole."""
        start = int(request.query.get("$skiptoken", 0))
        end = len(values) if start else (len(values) + 1) // 2
        page: dict[str, Any] = {"value": values[start:end]}
        if end < len(values):
            query = urlencode({**request.query, "$skiptoken": end})
            page["nextLink"] = f"{self._url()}{request.path}?{query}"
        return found(page)

    def _result(self, request: TokenRequest, id_: str) -> Answer:
        operation = self.machines.operations.get(id_)
        if operation is None:
            return refuse(404, "NotFound", "The operation was not found.")
        if operation.done_at is None:
            where = f"{self._url()}{request.path}?api-version=2021-04-01"
            return Answer("202 Accepted", [("Location", where)])
        return refuse(409, *operation.error) if operation.error else Answer("200 OK")

    def _activity(self, request: TokenRequest) -> Answer:
        text = request.query.get("$filter", "")
        wanted = re.fullmatch(
            r"eventTimestamp ge '([^']+)' and resourceGroupName eq '([^']+)'", text
        )
        if wanted is None:
            return refuse(400, "BadRequest", "The filter has to begin with a time.")
        events = self.machines.events if self._faults.log_works else []
        kept_since = self._clock.now() - timedelta(days=90)
        told = [
            one.document for one in events if one.group == wanted.group(2) and one.at >= kept_since
        ]
        return self._page(request, told)

    def _group(self, request: TokenRequest, name: str, body: Any) -> Answer:
        group = self.machines.group(name)
        if request.method == "PUT":
            unknown = set(body) - {"location", "tags", "managedBy", "properties"}
            if unknown or body.get("location") not in catalog.REGIONS:
                return refuse(400, "InvalidRequestContent", f"Could not find member {unknown}.")
            if group is not None and group.state == "Deleting":
                return refuse(409, "ResourceGroupBeingDeleted", f"'{name}' is being deleted.")
            fresh = Group(name, body["location"], dict(body.get("tags") or {}))
            if group is None:
                self.machines.groups[name.lower()] = fresh
            return found(documents.group(group or fresh), "201 Created" if not group else "200 OK")
        if group is None:
            return documents.no_group(name)
        if request.method == "DELETE":
            vm = next((vm for vm in self.machines.all if request.bearer == f"guest-{vm.id}"), None)
            caller = documents.PRINCIPALS[vm.identity] if vm else "you@example.com"
            operation = self.delete_group(group, caller)
            where = f"{self._url()}{_ROOT}/operationresults/{operation.id}?api-version=2021-04-01"
            return Answer("202 Accepted", [("Location", where)])
        return found(documents.group(group))

    def _resource(self, request: TokenRequest, name: str, rest: str, body: Any) -> Answer:
        group = self.machines.group(name)
        if group is None:
            return documents.no_group(name)
        kind, _, thing = rest.rpartition("/")
        if kind == "Microsoft.Logic/workflows":
            return self.workflows.answer(request, thing, body)
        if kind == "Microsoft.Authorization/roleAssignments":
            return self.rights.answer(name, thing, body)
        if kind == "Microsoft.ManagedIdentity/userAssignedIdentities":
            return documents.identity(name, thing)
        if kind in ("Microsoft.Network/networkInterfaces", "Microsoft.Network/publicIPAddresses"):
            return links.answer(self.machines, request, group, kind, thing, body)
        if kind.startswith("Microsoft.Network"):
            return self.networks.answer(group.location, rest)
        if rest == "Microsoft.Compute/virtualMachines":
            shown = self.machines.visible(self._clock.now(), name)
            return found({"value": [documents.machine(vm, None) for vm in shown]})
        if rest.endswith("/retrieveBootDiagnosticsData"):
            return self._diagnostics(name, rest.split("/")[2])
        if kind != "Microsoft.Compute/virtualMachines":
            return refuse(404, "InvalidResourceType", f"{rest} is not part of the loopback cloud")
        if request.method == "PUT":
            return self._make(request, group, thing, body)
        vm = self.machines.named(name, thing)
        if vm is None or vm not in self.machines.visible(self._clock.now(), name):
            return documents.no_machine(name, thing)
        if request.method == "DELETE":
            return self._delete(vm)
        view = self._clock.now() if request.query.get("$expand") == "instanceView" else None
        return found(documents.machine(vm, view))

    # Machines.

    def _make(self, request: TokenRequest, group: Group, name: str, body: Any) -> Answer:
        if group.state == "Deleting":
            return refuse(409, "ResourceGroupBeingDeleted", f"'{group.name}' is being deleted.")
        if self.machines.named(group.name, name) is not None:
            if request.header("if-none-match") == "*":
                return refuse(412, "PreconditionFailed", "The resource exists.")
            return refuse(409, "PropertyChangeNotAllowed", "Changing it is not allowed.")
        if not isinstance(body, dict):
            return refuse(400, "InvalidRequestContent", "The request content was invalid.")
        said = wrong_machine(body)
        if said:
            return refuse(400, "InvalidRequestContent", said)
        wish = (
            wrong_wish(body)
            or wrong_plan(body, self.terms_accepted)
            or links.missing(self.machines, body)
            or self.limits.too_dear(body)
        )
        if wish:
            return refuse(*wish)
        size = catalog.SIZES[body["properties"]["hardwareProfile"]["vmSize"]]
        spot = "spot" if body["properties"].get("priority") == "Spot" else "on_demand"
        beyond = self.limits.beyond_quota(size, body["location"], spot)
        if beyond:
            return refuse(409, *beyond)
        short = self.limits.out_of_capacity(size, body["location"], spot)
        if short and self.limits.at_once:
            return refuse(409, *short)
        now = self._clock.now()
        vm = Vm(str(uuid.uuid4()), name, group.name, body, now, size.vcpus)
        self.machines.all.append(vm)
        self.made[vm.token] += 1
        operation = self._operation(group.location)
        late = 3600.0 if self._faults.take("stuck") else 0.0
        if short:
            operation.error = short
            self._clock.after(late or FAILS_AFTER_S, partial(self._failed, vm, operation))
        else:
            self._clock.after(self.machines.boot_s, partial(self._boot, vm))
            self._clock.after(late or self.machines.boot_s, partial(self._done, operation))
        headers = {"Azure_AsyncOperation": self._where(operation)}
        return found(documents.machine(vm, None), "201 Created", **headers)

    def _boot(self, vm: Vm) -> None:
        if vm.ends_at is not None:
            return
        vm.running_at, vm.state = self._clock.now(), "Succeeded"
        self._log("Microsoft.Compute/virtualMachines/write", vm, at=vm.created_at)
        self._started(vm)
        if vm.market == "spot" and self.preempt_after_s is not None:
            self._clock.after(self.preempt_after_s, partial(self.preempt, vm))
            self.preempt_after_s = None

    def _failed(self, vm: Vm, operation: Operation) -> None:
        vm.state = "Failed"
        self._log("Microsoft.Compute/virtualMachines/write", vm, "Failed")
        self._done(operation)

    def _done(self, operation: Operation) -> None:
        operation.done_at = self._clock.now()

    def _delete(self, vm: Vm) -> Answer:
        operation = self._operation(vm.region)
        self.delete_machine(vm)
        self._clock.after(self.machines.shutdown_s, partial(self._done, operation))
        headers = [
            ("Azure-AsyncOperation", self._where(operation)),
            ("Location", self._where(operation)),
        ]
        return Answer("202 Accepted", headers)

    def _diagnostics(self, group: str, name: str) -> Answer:
        vm = self.machines.named(group, name)
        if vm is None:
            return documents.no_machine(group, name)
        return found({"serialConsoleLogBlobUri": f"{self._url()}/_console/{vm.id}"})

    def _where(self, operation: Operation) -> str:
        return (
            f"{self._url()}{_ROOT}/providers/Microsoft.Compute/locations/{operation.region}"
            f"/operations/{operation.id}?api-version=2024-11-01"
        )
