"""A run's secrets in the region's key vault: one for each attempt, useless past the kill time."""

import json
from collections.abc import Mapping

from mlbroker.broker.clouds.azure.calls import Calls
from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.interface import Denied, Intent


def hand_over(calls: Calls, names: Names, intent: Intent, values: Mapping[str, str]) -> None:
    """Lay them where the machine alone can read them."""
    secret = {
        "value": json.dumps(dict(values)),
        "contentType": "application/json",
        "attributes": {"enabled": True, "exp": int(intent.kill_at.timestamp())},
        "tags": dict(intent.tags),
    }
    try:
        calls.ask_vault("PUT", names.vault, f"secrets/{intent.token}", secret)
    except Denied as error:
        # Laid before, by a call whose answer was lost, and taken by the machine since.
        if "deleted but recoverable" not in error.what:
            raise


def forget(calls: Calls, names: Names, intent: Intent) -> None:
    """Remove them, where the machine has not done so."""
    if calls.ask_vault("DELETE", names.vault, f"secrets/{intent.token}") is not None:
        try:
            calls.ask_vault("DELETE", names.vault, f"deletedsecrets/{intent.token}")
        except Denied as error:
            # Still on its way into the bin, which Azure empties by itself.
            if "ObjectIsBeingDeleted" not in error.what:
                raise
