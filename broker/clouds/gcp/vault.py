"""A run's secrets in Secret Manager: one for each attempt, which expires with the kill time."""

import base64
import json
from collections.abc import Mapping

from mlbroker.broker.clouds.gcp.calls import Calls, secrets_url
from mlbroker.broker.clouds.gcp.names import Names
from mlbroker.broker.clouds.gcp.request import termination_time
from mlbroker.broker.clouds.interface import Denied, Intent
from mlbroker.broker.clouds.seats import Seat

_WHERE = "Secret Manager"


def hand_over(
    calls: Calls, names: Names, seat: Seat, intent: Intent, values: Mapping[str, str]
) -> None:
    """Lay them where the machine alone can read them; nothing is left of them past its life."""
    secret = {
        "replication": {"userManaged": {"replicas": [{"location": names.region}]}},
        "expireTime": termination_time(intent.kill_at),
        "labels": dict(intent.tags),
    }
    name = names.secret(seat.number, seat.name)
    parent = f"{secrets_url()}projects/{names.project}/secrets"
    try:
        calls.ask("POST", parent, _WHERE, params={"secretId": name}, json=secret)
    except Denied as error:
        # Made before, by a call whose answer was lost.
        if "already exists" not in error.what:
            raise
    data = base64.b64encode(json.dumps(dict(values)).encode()).decode()
    calls.ask(
        "POST",
        f"{parent}/{name}:addVersion",
        _WHERE,
        json={"payload": {"data": data}},
    )


def forget(calls: Calls, names: Names, seat: Seat) -> None:
    """Remove them, where the machine has not done so."""
    try:
        calls.ask("DELETE", secrets_url() + path(names, seat), _WHERE)
    except Denied as error:
        if "not found" not in error.what:
            raise


def path(names: Names, seat: Seat) -> str:
    """Where a machine finds them."""
    return f"projects/{names.project}/secrets/{names.secret(seat.number, seat.name)}"
