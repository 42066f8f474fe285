"""Compute Engine as far as mlbroker uses it: instances with operations, and what they are made of.

Requests arrive here only after they were held to the discovery document.
"""

import json
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tests.support.gcp import catalog, documents
from tests.support.gcp.discovery import Method, found, refuse
from tests.support.gcp.faults import GcpFaults
from tests.support.gcp.limits import Limits
from tests.support.gcp.machines import Machines, Operation, Vm
from tests.support.gcp.parts import Parts
from tests.support.gcp.queries import missing, scopes, wanted_by
from tests.support.gcp.wishes import Wish, wrong_wish
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_http import GUEST, Answer, TokenRequest

PREEMPTED = "compute.instances.preempted"
HOST_ERROR = "compute.instances.hostError"
RESTARTED = "compute.instances.automaticRestart"
RESTART_S = 120.0
LIMIT_REACHED = "delete"
NOTICE_S = 30.0
# The vendor ends a machine up to half a minute after its time has come.
LATE_S = 29.0


class Gce(Parts):
    """The service. `started` is told of each machine when it runs, `ended` when it stops."""

    def __init__(
        self,
        clock: VirtualClock,
        faults: GcpFaults,
        started: Callable[[Vm], None],
        ended: Callable[[Vm], None],
    ) -> None:
        self.machines = Machines(clock)
        self.limits = Limits(self.machines)
        self.networks = documents.Networks()
        self.made: Counter[str] = Counter()
        # Spot machines are taken away this long after they run; None leaves them.
        self.preempt_after_s: float | None = None
        # The host of the next machine dies this long after it runs; None lets it live.
        self.host_error_after_s: float | None = None
        self._clock = clock
        self._faults = faults
        self._started = started
        self._ended = ended
        self._by_request: dict[tuple[str, str], Operation] = {}
        self._numbers = iter(range(4_000_000_000_000_000_001, 2**63))

    def calm(self) -> None:
        """Plenty of everything, at once."""
        self.limits.clear()
        self.networks = documents.Networks()
        self.preempt_after_s = self.host_error_after_s = None
        self.machines.hidden_s = 0.0
        self.machines.spot_prices.clear()

    def reprice(self, usd_per_hour: float) -> None:
        """Spot machines cost this from now on: Google takes no bid."""
        self.machines.spot_prices.append((self._clock.now(), usd_per_hour))

    def answer(self, request: TokenRequest, method: Method) -> Answer:
        name = method.id.removeprefix("compute.").replace(".", "_")
        handler: Callable[[TokenRequest, dict[str, str]], Answer] | None = getattr(self, name, None)
        if method.path.get("project", catalog.PROJECT) != catalog.PROJECT and "images" not in name:
            return refuse(
                403,
                "forbidden",
                f"Required '{method.id}' permission for 'projects/{method.path['project']}'",
            )
        zone = method.path.get("zone")
        if zone is not None and zone not in catalog.ZONES:
            return refuse(400, "invalid", f"Invalid value for field 'zone': '{zone}'. Unknown zone")
        if handler is None:
            return refuse(404, "notFound", f"{method.id} is not part of the loopback cloud")
        return handler(request, method.path)

    # What the vendor, or the machine, does by itself.

    def delete(self, vm: Vm, why: str = "delete", user: str = "system") -> None:
        """Begin its end; a second end changes nothing."""
        if vm.ends_at is None:
            operation = self.machines.begin(vm.zone, why, vm.path, vm.id)
            operation.user = user
            operation.account = vm.account if user == GUEST else ""
            self._end(vm, operation)

    def stop(self, vm: Vm) -> None:
        """The system on the machine shut down: it stands still, and keeps its disk."""
        if vm.ends_at is None and vm.stopped_at is None:
            vm.stopped_at = self._clock.now()
            # A machine that stands still is not ended by its limit any more.
            vm.terminates_at = None
            self._ended(vm)

    def host_error(self, vm: Vm) -> None:
        """Its host died under it: it stands still, or restarts elsewhere where it may."""
        if vm.works:
            self._done(self.machines.begin(vm.zone, HOST_ERROR, vm.path, vm.id))
            self.stop(vm)
            if vm.body["scheduling"].get("automaticRestart", vm.market != "spot"):
                self._clock.after(RESTART_S, partial(self._restart, vm))

    def _restart(self, vm: Vm) -> None:
        """Its limit holds again; a machine whose time is over is not started any more."""
        ends = vm.body["scheduling"].get("terminationTime")
        limit = datetime.fromisoformat(ends) if ends else None
        if vm.ends_at is not None or (limit and limit <= self._clock.now()):
            return
        self._done(self.machines.begin(vm.zone, RESTARTED, vm.path, vm.id))
        vm.stopped_at, vm.terminates_at = None, limit
        self._started(vm)

    def preempt(self, vm: Vm) -> None:
        """Announce the end of a spot machine, half a minute ahead."""
        vm.notice_at = self._clock.now()
        self._clock.after(NOTICE_S, partial(self.take_away, vm))

    def take_away(self, vm: Vm) -> None:
        """Preempted, without a word."""
        self.delete(vm, PREEMPTED)

    def _end(self, vm: Vm, operation: Operation) -> None:
        vm.ends_at = self._clock.now()
        vm.why = operation.kind
        self._ended(vm)

        def gone() -> None:
            vm.gone_at = operation.done_at = self._clock.now()

        self._clock.after(self.machines.shutdown_s, gone)

    # Instances.

    def instances_insert(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        body = json.loads(request.body)
        wish = Wish.of_instance(body, path["zone"])
        return self._insert(request, path["zone"], [wish], "insert")

    def instances_bulkInsert(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        wishes = Wish.of_bulk(json.loads(request.body), path["zone"])
        if isinstance(wishes, str):
            return refuse(400, "invalid", wishes)
        return self._insert(request, path["zone"], wishes, "bulkInsert")

    def _insert(self, request: TokenRequest, zone: str, wishes: list[Wish], kind: str) -> Answer:
        number = request.query.get("requestId")
        if number is not None:
            try:
                zero = uuid.UUID(number).int == 0
            except ValueError:
                zero = True
            if zero:
                return refuse(400, "invalid", f"Invalid value for field 'requestId': '{number}'")
            earlier = self._by_request.get((zone, number))
            if earlier is not None and not earlier.error:
                return found(documents.operation(earlier))
        for wish in wishes:
            wrong = wrong_wish(wish, zone, self.networks, self._clock.now())
            if wrong:
                return refuse(*wrong)
            if self.machines.named(zone, wish.name):
                where = f"projects/{catalog.PROJECT}/zones/{zone}/instances/{wish.name}"
                return refuse(409, "alreadyExists", f"The resource '{where}' already exists")
        refused = self.limits.refused_at_once(zone, wishes)
        if refused:
            return refuse(*refused)
        first = f"zones/{zone}/instances/{wishes[0].name}"
        operation = self.machines.begin(zone, kind, first, str(next(self._numbers)))
        operation.labels = dict(wishes[0].labels)
        if number is not None:
            self._by_request[zone, number] = operation
        stuck = self._faults.take("stuck")
        operation.error = self.limits.refused_later(zone, wishes)
        if operation.error is None and self._faults.take("late_inserts"):
            operation.error = ("INTERNAL_ERROR", "Internal error. Please try again.")
        if operation.error is not None:
            self._clock.after(3600 if stuck else 4, partial(self._done, operation))
            return found(documents.operation(operation))
        for wish in wishes:
            self._make(wish, zone, operation)
        self._clock.after(3600 if stuck else self.machines.boot_s, partial(self._done, operation))
        return found(documents.operation(operation))

    def _make(self, wish: Wish, zone: str, operation: Operation) -> None:
        now = self._clock.now()
        vm = Vm(str(next(self._numbers)), wish.name, zone, wish.body, now, wish.kind.vcpus)
        operation.target_id = vm.id
        self.machines.all.append(vm)
        self.made[vm.token] += 1
        self._clock.after(self.machines.boot_s, partial(self._boot, vm))
        vm.terminates_at = wish.terminates_at
        if wish.terminates_at is not None:
            late = timedelta(seconds=LATE_S + self._faults.kill_late_s)
            self._clock.at(wish.terminates_at + late, partial(self._limit_reached, vm))

    def _boot(self, vm: Vm) -> None:
        if vm.ends_at is not None:
            return
        vm.running_at = self._clock.now()
        if vm.terminates_at is None and (lifetime := vm.body["scheduling"].get("maxRunDuration")):
            vm.terminates_at = vm.running_at + timedelta(seconds=int(lifetime["seconds"]))
            self._clock.at(
                vm.terminates_at + timedelta(seconds=LATE_S), partial(self._limit_reached, vm)
            )
        self._started(vm)
        if vm.market == "spot" and self.preempt_after_s is not None:
            self._clock.after(self.preempt_after_s, partial(self.preempt, vm))
            self.preempt_after_s = None
        if self.host_error_after_s is not None:
            self._clock.after(self.host_error_after_s, partial(self.host_error, vm))
            self.host_error_after_s = None

    def _limit_reached(self, vm: Vm) -> None:
        if not self._faults.kill_works or vm.terminates_at is None:
            return
        if vm.body["scheduling"].get("instanceTerminationAction") == "DELETE":
            self.delete(vm, LIMIT_REACHED)
        else:
            self.stop(vm)

    def _done(self, operation: Operation) -> None:
        operation.done_at = self._clock.now()

    def instances_get(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        for vm in self.machines.visible(path["zone"]):
            if path["instance"] in (vm.name, vm.id):
                return found(documents.instance(vm, self._clock.now()))
        return missing(f"zones/{path['zone']}/instances/{path['instance']}")

    def instances_delete(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        vm = self.machines.named(path["zone"], path["instance"])
        if vm is None or vm not in self.machines.visible():
            return missing(f"zones/{path['zone']}/instances/{path['instance']}")
        operation = self.machines.begin(vm.zone, "delete", vm.path, vm.id)
        operation.user = request.who or ""
        operation.account = vm.account if request.who == GUEST else ""
        if self._faults.take("late_deletes"):
            operation.error = ("INTERNAL_ERROR", "Internal error. Please try again.")
            self._clock.after(4, partial(self._done, operation))
        elif vm.ends_at is None:
            self._end(vm, operation)
        else:
            operation.done_at = self._clock.now()
        return found(documents.operation(operation))

    def instances_list(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        wanted = wanted_by(request)
        now = self._clock.now()
        items = [documents.instance(vm, now) for vm in self.machines.visible(path["zone"])]
        return found({"kind": "compute#instanceList", "items": list(filter(wanted, items))})

    def instances_aggregatedList(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        now = self._clock.now()
        by_zone: dict[str, list[Any]] = {zone: [] for zone in catalog.ZONES}
        for vm in self.machines.visible():
            by_zone[vm.zone].append(documents.instance(vm, now))
        return scopes("instances", by_zone, wanted_by(request), self._faults.unreachable_zones)

    def instances_getSerialPortOutput(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        vm = self.machines.named(path["zone"], path["instance"])
        if vm is None:
            return missing(f"zones/{path['zone']}/instances/{path['instance']}")
        return found({"kind": "compute#serialPortOutput", "contents": self.console(vm.id)})

    def console(self, id_: str) -> str:
        """What a machine wrote on its console; the executing guests put it here."""
        return ""

    # Operations.

    def zoneOperations_get(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        operation = self.machines.operations.get(path["operation"])
        if operation is None or operation.zone != path["zone"]:
            return missing(f"zones/{path['zone']}/operations/{path['operation']}")
        return found(documents.operation(operation))

    def zoneOperations_wait(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        operation = self.machines.operations.get(path["operation"])
        if operation is None or operation.zone != path["zone"]:
            return missing(f"zones/{path['zone']}/operations/{path['operation']}")
        return found(documents.operation(operation))

    def zoneOperations_list(self, request: TokenRequest, path: dict[str, str]) -> Answer:
        wanted = wanted_by(request)
        listed = [
            documents.operation(operation)
            for operation in self.machines.listed_operations()
            if operation.zone == path["zone"]
        ]
        return found({"kind": "compute#operationList", "items": list(filter(wanted, listed))})

    def globalOperations_aggregatedList(
        self, request: TokenRequest, path: dict[str, str]
    ) -> Answer:
        by_zone: dict[str, list[Any]] = {zone: [] for zone in catalog.ZONES}
        for operation in self.machines.listed_operations():
            by_zone[operation.zone].append(documents.operation(operation))
        return scopes("operations", by_zone, wanted_by(request), self._faults.unreachable_zones)
