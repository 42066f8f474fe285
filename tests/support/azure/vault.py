"""Key Vault as far as it is used: one secret for each attempt, in the bin once it is deleted."""

import json
from typing import Any

from tests.support.azure.catalog import REGIONS, SUBSCRIPTION
from tests.support.azure.schema import found, refuse
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_http import Answer, TokenRequest

from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.seats import SEATS

PREFIX = "/vault/"
_RIGHTS = {
    ("PUT", "secrets"): "setSecret/action",
    ("GET", "secrets"): "getSecret/action",
    ("DELETE", "secrets"): "delete",
    ("DELETE", "deletedsecrets"): "purge/action",
}
_KNOWN = frozenset({"value", "contentType", "attributes", "tags"})


class Vault:
    """All vaults' secrets by (vault, name), and what lies in the bin."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._vaults = {
            Names(SUBSCRIPTION, region).vault(seat) for region in REGIONS for seat in SEATS
        }
        self._secrets: dict[tuple[str, str], dict[str, Any]] = {}
        self.bin: set[tuple[str, str]] = set()

    def names(self) -> list[str]:
        return [name for _, name in self._secrets]

    def keep(self, path: str) -> None:
        """A secret that nothing removes: `VAULT/NAME`."""
        vault, _, name = path.partition("/")
        self._secrets[vault, name] = {"value": "kept"}

    @staticmethod
    def action(request: TokenRequest) -> str:
        """The right that is asked for."""
        kind = request.path.removeprefix(PREFIX).split("/")[1]
        return "Microsoft.KeyVault/vaults/secrets/" + _RIGHTS.get((request.method, kind), "none")

    def answer(self, request: TokenRequest) -> Answer:
        vault, kind, name = request.path.removeprefix(PREFIX).split("/")
        if vault not in self._vaults or request.query.get("api-version") != "7.4":
            return refuse(400, "BadParameter", "No such vault, or no such version of its API.")
        key = (vault, name)
        if kind == "deletedsecrets":
            if key not in self.bin:
                return refuse(404, "SecretNotFound", f"{name} is not in the bin.")
            self.bin.remove(key)
            return Answer("204 No Content")
        if request.method == "PUT":
            return self._set(key, json.loads(request.body))
        secret = self._secrets.get(key)
        if secret is None:
            return refuse(404, "SecretNotFound", f"A secret with name {name} was not found.")
        if request.method == "DELETE":
            del self._secrets[key]
            self.bin.add(key)
            return found({"id": request.path})
        return found({"id": request.path, **secret})

    def _set(self, key: tuple[str, str], secret: dict[str, Any]) -> Answer:
        if set(secret) - _KNOWN or not isinstance(secret.get("value"), str):
            return refuse(400, "BadParameter", "Property has invalid value or is unknown.")
        if key in self.bin:
            return refuse(409, "Conflict", f"Secret {key[1]} is in a deleted but recoverable state")
        # Which keeps nobody from reading it afterwards.
        if "exp" not in secret.get("attributes", {}):
            return refuse(400, "BadParameter", "The loopback cloud wants secrets that expire.")
        self._secrets[key] = secret
        return found({"id": key[1]})
