"""What the things are called that mlbroker uses in a project: the same in docs, set-up and runs.

Everything belongs to one region, so that a region can be set up, or given up, by itself.
"""

import uuid
from typing import NamedTuple

from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.clouds.rented import checked_token, machine_names

NODES_TAG = "mlbroker-nodes"
_REQUESTS = uuid.UUID("5c0d3a5e-6f8b-4a0e-9d43-7c9d1f6f2f10")


class Names(NamedTuple):
    """The set-up of one project, and of one region in it."""

    project: str
    region: str

    @property
    def bucket(self) -> str:
        """Where jobs go in, and logs, checkpoints and outputs come out."""
        return f"mlbroker-{self.project}-{self.region}"

    def guest(self, seat: str) -> str:
        """The service account of the machines on a seat."""
        return f"{self.guest_account(seat)}@{self.project}.iam.gserviceaccount.com"

    def guest_account(self, seat: str) -> str:
        """Its short name, of thirty characters at most."""
        return f"mlb-{self.region}-{seat}"

    @property
    def seat_tag(self) -> str:
        """The tag whose value is a machine's seat: by it a machine may delete itself alone."""
        return f"mlbroker-{self.region}"

    def secret(self, seat: str, name: str) -> str:
        """A secret of a seat; those of all regions lie together."""
        return f"{self.guest_account(seat)}-{name}"

    @property
    def guest_role(self) -> str:
        """The role of the machines."""
        return f"mlbrokerGuest_{self.region.replace('-', '_')}"

    @property
    def launcher_role(self) -> str:
        """The role of whoever calls `mlbroker run`."""
        return f"mlbrokerLauncher_{self.region.replace('-', '_')}"

    @property
    def network(self) -> str:
        """The network of the machines, and its one subnet: nobody comes in."""
        return f"mlbroker-{self.region}"

    @property
    def nodes_rule(self) -> str:
        """The firewall rule by which machines of one run reach each other."""
        return f"mlbroker-nodes-{self.region}"

    @property
    def subnet(self) -> str:
        """The subnet's path."""
        return f"projects/{self.project}/regions/{self.region}/subnetworks/{self.network}"


def instance_names(intent: Intent) -> tuple[str, ...]:
    """One name for each machine of the attempt, for certain a name."""
    return machine_names(checked_token(intent), intent.nodes)


def request_id(intent: Intent, zone: str) -> str:
    """By this Google knows a request that was made before."""
    return str(uuid.uuid5(_REQUESTS, f"{intent.token} {zone}"))
