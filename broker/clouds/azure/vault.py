"""A run's secrets in its seat's key vault: one for each attempt.

That it expires keeps nobody from reading it (github.com/Azure/AzureKeyVault/issues/19): it is
deleted, by its machine, by who settles the run, or before its seat is lent again.
"""

import json
from collections.abc import Mapping

from mlbroker.broker.clouds.azure.calls import Calls
from mlbroker.broker.clouds.azure.names import Names
from mlbroker.broker.clouds.interface import Denied, Intent
from mlbroker.broker.clouds.seats import Seat


def hand_over(
    calls: Calls, names: Names, seat: Seat, intent: Intent, values: Mapping[str, str]
) -> None:
    """Lay them where the machine alone can read them."""
    secret = {
        "value": json.dumps(dict(values)),
        "contentType": "application/json",
        "attributes": {"enabled": True, "exp": int(intent.kill_at.timestamp())},
        "tags": dict(intent.tags),
    }
    try:
        calls.ask_vault("PUT", names.vault(seat.number), f"secrets/{seat.name}", secret)
    except Denied as error:
        # Laid before, by a call whose answer was lost, and taken by the machine since.
        if "deleted but recoverable" not in error.what:
            raise


def forget(calls: Calls, names: Names, seat: Seat) -> None:
    """Remove them, where the machine has not done so."""
    vault = names.vault(seat.number)
    if calls.ask_vault("DELETE", vault, f"secrets/{seat.name}") is not None:
        try:
            calls.ask_vault("DELETE", vault, f"deletedsecrets/{seat.name}")
        except Denied as error:
            # Still on its way into the bin, which Azure empties by itself.
            if "ObjectIsBeingDeleted" not in error.what:
                raise
