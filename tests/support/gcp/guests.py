"""What is Google's own about guests: the metadata server, and the programs a script finds."""

import json
from collections.abc import Callable
from typing import Any

from tests.support.gcp.catalog import NUMBER, PROJECT
from tests.support.gcp.machines import Vm
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_guests import DeletingSandboxes
from tests.support.loopback_http import Answer, TokenRequest

_TEXT = [("Content-Type", "application/text"), ("Metadata-Flavor", "Google")]


class GcpSandboxes(DeletingSandboxes):
    """Runs each machine's start-up script as a process."""

    def environment(self, vm: Any, machine: str) -> dict[str, str]:
        url = self._url()
        return {
            "GCE_METADATA_HOST": machine.removeprefix("http://"),
            "STORAGE_EMULATOR_HOST": url,
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": url + "/",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": url + "/compute/v1/",
        }


class Metadata:
    """The metadata server of one machine."""

    def __init__(self, clock: VirtualClock, grant: Callable[[Vm], str]) -> None:
        self._clock = clock
        self._grant = grant

    def answer(self, vm: Vm, path: str, request: TokenRequest) -> Answer:
        if request.header("metadata-flavor") != "Google":
            return Answer("403 Forbidden", _TEXT, b"Missing Metadata-Flavor:Google header.")
        text = self._values(vm).get(path.removeprefix("computeMetadata/v1/"))
        if text is None:
            return Answer("404 Not Found", _TEXT)
        return Answer("200 OK", _TEXT, text.encode())

    def _values(self, vm: Vm) -> dict[str, str]:
        rank = vm.name.rpartition("-n")[2]
        last = int(rank) + 1 if rank.isdigit() else 1
        account = vm.body.get("serviceAccounts")
        values = {
            "instance/name": vm.name,
            "instance/id": vm.id,
            "instance/zone": f"projects/{NUMBER}/zones/{vm.zone}",
            "instance/preempted": "TRUE" if vm.notice_at else "FALSE",
            "instance/network-interfaces/0/ip": f"127.0.0.{last}",
            "project/project-id": PROJECT,
            "project/numeric-project-id": NUMBER,
        }
        if account:
            token = {
                "access_token": self._grant(vm),
                "expires_in": 3599,
                "token_type": "Bearer",
            }
            values["instance/service-accounts/default/token"] = json.dumps(token)
            values["instance/service-accounts/default/email"] = account[0]["email"]
        return values
