"""What is AWS's own about guests: the metadata service, and where a script finds its cloud."""

import json
import secrets
from typing import Any

from tests.support.aws.machines import Vm
from tests.support.aws.request import Request
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_guests import Sandboxes
from tests.support.loopback_http import Answer

_TEXT = [("Content-Type", "text/plain")]


class AwsSandboxes(Sandboxes):
    """Runs each machine's user-data as a process."""

    def environment(self, vm: Any, machine: str) -> dict[str, str]:
        """Where a guest finds its cloud and its metadata."""
        return {
            "AWS_ENDPOINT_URL": self._url(),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": machine,
        }


class Metadata:
    """The instance metadata service, version 2 only."""

    def __init__(self, clock: VirtualClock, account: str) -> None:
        self._clock = clock
        self._account = account
        self._tokens: set[str] = set()

    def answer(self, vm: Vm, path: str, request: Request) -> Answer:
        environ = request.environ
        if path == "latest/api/token":
            if request.method != "PUT" or not environ.get(
                "HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS"
            ):
                return Answer("400 Bad Request", _TEXT)
            token = secrets.token_hex(8)
            self._tokens.add(token)
            return Answer("200 OK", _TEXT, token.encode())
        if environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN") not in self._tokens:
            return Answer("401 Unauthorized", _TEXT)
        text = self._values(vm).get(path.removeprefix("latest/"))
        if text is None:
            return Answer("404 Not Found", _TEXT)
        return Answer("200 OK", _TEXT, text.encode())

    def _values(self, vm: Vm) -> dict[str, str]:
        role = f"mlbroker-machine-{vm.region}"
        base = "meta-data/iam/security-credentials/"
        me = {"accountId": self._account, "region": vm.region, "instanceId": vm.id}
        values = {
            "dynamic/instance-identity/document": json.dumps(me),
            "meta-data/instance-id": vm.id,
            "meta-data/ami-launch-index": str(vm.index),
            "meta-data/local-ipv4": f"127.0.0.{vm.index + 1}",
            "meta-data/placement/region": vm.region,
            "meta-data/placement/availability-zone": vm.zone,
            base: role,
            base + role: json.dumps(
                {
                    "AccessKeyId": f"guest-{vm.id}",
                    "SecretAccessKey": "guest-secret",
                    "Token": "guest-token",
                    "Expiration": "2099-01-01T00:00:00Z",
                }
            ),
        }
        if vm.notice_at is not None:
            values["meta-data/spot/instance-action"] = json.dumps(
                {"action": "terminate", "time": f"{vm.notice_at:%Y-%m-%dT%H:%M:%SZ}"}
            )
        return values
