"""EC2's vCPU quotas, which count groups of machine families."""

from collections.abc import Collection, Mapping

from mlbroker.broker.prices.feeds.answers import by_region
from mlbroker.broker.prices.feeds.aws.clients import Clients
from mlbroker.broker.prices.feeds.interface import FeedError
from mlbroker.broker.prices.quotas import Quota

# AWS counts vCPUs by groups of families, on-demand and spot apart.
_STANDARD = ("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z")
_CODES: Mapping[str, tuple[bool, tuple[str, ...]]] = {
    "L-1216C47A": (False, _STANDARD),
    "L-417A185B": (False, ("p",)),
    "L-DB2E81BA": (False, ("g", "gr", "vt")),
    "L-7295265B": (False, ("x",)),
    "L-1945791B": (False, ("inf",)),
    "L-2C3B7624": (False, ("trn",)),
    "L-6E869C2A": (False, ("dl",)),
    "L-74FC7D96": (False, ("f",)),
    "L-F7808C92": (False, ("hpc",)),
    "L-43DA4232": (False, ("u",)),
    "L-34B43A08": (True, _STANDARD),
    "L-7212CCBC": (True, ("p",)),
    "L-3819A6DF": (True, ("g", "gr", "vt")),
    "L-E3A00192": (True, ("x",)),
    "L-B5D1601B": (True, ("inf",)),
    "L-6B0D517C": (True, ("trn",)),
    "L-85EED4F7": (True, ("dl",)),
    "L-88CF9481": (True, ("f",)),
}


def fetch(regions: Collection[str]) -> list[Quota]:
    """The quotas of the regions that the account has switched on."""
    clients = Clients.connect()
    if clients is None:
        raise FeedError(
            "no AWS credentials", where="aws", hint="Sign in, for example: aws sso login."
        )

    def of(region: str) -> list[Quota]:
        found = []
        for entry in clients.quotas(region):
            spot, families = _CODES.get(entry["QuotaCode"], (False, ()))
            if families:
                name, limit = entry["QuotaName"], float(entry["Value"])
                found.append(Quota("aws", region, spot, name, "vcpu", limit, None, families))
        return found

    return by_region(of, set(regions) & clients.regions())
