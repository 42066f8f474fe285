"""What is Azure's own about guests: the metadata service, and where a script finds its cloud."""

from collections.abc import Callable
from typing import Any

from tests.support.azure.catalog import SUBSCRIPTION
from tests.support.azure.machines import Vm
from tests.support.azure.schema import JSON, found, refuse
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_guests import DeletingSandboxes
from tests.support.loopback_http import Answer, TokenRequest


class AzureSandboxes(DeletingSandboxes):
    """Runs each machine's custom data as a process, as cloud-init would."""

    def environment(self, vm: Any, machine: str) -> dict[str, str]:
        url = self._url()
        return {
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": machine,
            "MLBROKER_AZURE_STORAGE_URL": url + "/storage",
            "MLBROKER_AZURE_VAULT_URL": url + "/vault",
            "MLBROKER_AZURE_MANAGEMENT_URL": url,
        }


class Metadata:
    """The metadata service of one machine."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def answer(self, vm: Vm, path: str, request: TokenRequest) -> Answer:
        if request.header("metadata") != "true":
            return refuse(400, "bad_request", "Required metadata header not specified")
        if "api-version" not in request.query:
            return refuse(400, "bad_request", "api-version was not specified in the request")
        give: Callable[[], Any] | None = {
            "instance/compute": lambda: self._compute(vm),
            "instance/network/interface": lambda: self._interfaces(vm),
            "identity/oauth2/token": lambda: token(f"guest-{vm.id}", request),
            "scheduledevents": lambda: self._events(vm),
        }.get(path)
        if give is None:
            return Answer("404 Not Found", JSON)
        if path == "identity/oauth2/token" and not vm.body.get("identity"):
            return refuse(400, "invalid_request", "Identity not found")
        return found(give())

    def _compute(self, vm: Vm) -> dict[str, Any]:
        return {
            "name": vm.name,
            "vmId": vm.id,
            "location": vm.region,
            "resourceGroupName": vm.group,
            "subscriptionId": SUBSCRIPTION,
        }

    def _interfaces(self, vm: Vm) -> list[dict[str, Any]]:
        rank = vm.name.rpartition("-n")[2]
        last = int(rank) + 1 if rank.isdigit() else 1
        return [{"ipv4": {"ipAddress": [{"privateIpAddress": f"127.0.0.{last}"}]}}]

    def _events(self, vm: Vm) -> dict[str, Any]:
        events = [{"EventId": "1", "EventType": "Preempt", "Resources": [vm.name]}]
        return {"DocumentIncarnation": 1, "Events": events if vm.notice_at else []}


def token(value: str, request: TokenRequest) -> dict[str, str]:
    """As the metadata service gives tokens: all numbers are strings."""
    return {
        "access_token": value,
        "expires_in": "86399",
        "expires_on": "4102444800",
        "not_before": "1600000000",
        "resource": request.query.get("resource", ""),
        "token_type": "Bearer",
    }
