"""Secret Manager as far as it is used: one secret for each attempt, gone by itself in the end."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

from tests.support.gcp.catalog import PROJECT
from tests.support.gcp.discovery import Method, found, refuse
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_http import Answer, TokenRequest


class Vault:
    """Secrets by their name, with the versions of their values."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._secrets: dict[str, dict[str, Any]] = {}
        self._values: dict[str, list[str]] = {}

    def names(self) -> list[str]:
        """Those that have not expired."""
        now = self._clock.now()
        return [
            name
            for name, secret in self._secrets.items()
            if datetime.fromisoformat(secret["expireTime"]) > now
        ]

    def keep(self, path: str) -> None:
        """A secret that nothing removes: `projects/PROJECT/secrets/NAME`."""
        expires = (self._clock.now() + timedelta(days=1)).isoformat()
        self._secrets[path.rpartition("/")[2]] = {"expireTime": expires}

    def answer(self, request: TokenRequest, method: Method) -> Answer:
        action = method.id.removeprefix("secretmanager.projects.secrets.")
        if action == "create":
            return self._create(request)
        name = method.path["secretsId"]
        if name not in self.names():
            return refuse(404, "NOT_FOUND", f"Secret [projects/{PROJECT}/secrets/{name}] not found")
        if action == "addVersion":
            data = json.loads(request.body)["payload"]["data"]
            if len(base64.b64decode(data)) > 65536:
                return refuse(400, "INVALID_ARGUMENT", "The payload is larger than 64 KiB.")
            self._values[name].append(data)
            return found({"name": f"projects/{PROJECT}/secrets/{name}/versions/1"})
        if action == "versions.access":
            if not self._values[name]:
                return refuse(404, "NOT_FOUND", "Secret Version not found.")
            return found({"name": request.path, "payload": {"data": self._values[name][-1]}})
        if action == "delete":
            del self._secrets[name]
            return found({})
        return refuse(404, "NOT_FOUND", f"{method.id} is not part of the loopback cloud")

    def _create(self, request: TokenRequest) -> Answer:
        name = request.query["secretId"]
        if name in self.names():
            return refuse(409, "ALREADY_EXISTS", f"Secret [{name}] already exists.")
        secret = json.loads(request.body)
        if "replication" not in secret:
            return refuse(400, "INVALID_ARGUMENT", "The replication policy is required.")
        if "expireTime" not in secret:
            return refuse(400, "INVALID_ARGUMENT", "The loopback cloud wants secrets that expire.")
        if datetime.fromisoformat(secret["expireTime"]) <= self._clock.now():
            return refuse(400, "INVALID_ARGUMENT", "expire_time must be in the future.")
        self._secrets[name], self._values[name] = secret, []
        return found({"name": f"projects/{PROJECT}/secrets/{name}", **secret})
