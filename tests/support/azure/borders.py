"""What a machine on Azure could try with another run's things."""

from tests.support.azure.catalog import SUBSCRIPTION
from tests.support.borders import Ask, Borders, Neighbour, asks_of_files
from tests.support.strict import folder_in

from mlbroker.broker.clouds.azure.names import NAME, Names
from mlbroker.broker.clouds.seats import LEASES

_WRITE = {"x-ms-blob-type": "BlockBlob"}
_ARM = "api-version=2024-07-01"


def _own(of: Neighbour) -> dict[str, Ask]:
    inside = f"{_container(of)}/{folder_in(of.vm.user_data)}"
    vault = Names(SUBSCRIPTION, of.intent.region).vault(of.seat.number)
    secret = f"/vault/{vault}/secrets/{of.seat.name}?api-version=7.4"
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{of.intent.token}"
    return {
        **asks_of_files(inside, _WRITE),
        "puts a block": Ask("PUT", f"{inside}/0/outputs.tar?comp=block&blockid=MA==", b"evil"),
        "reads its secret": Ask("GET", secret),
        "deletes its secret": Ask("DELETE", secret),
        "deletes its machine": Ask(
            "DELETE", f"{group}/providers/Microsoft.Compute/virtualMachines/{of.vm.name}?{_ARM}"
        ),
        "deletes its group": Ask("DELETE", f"{group}?{_ARM}"),
    }


def _nobodys(of: Neighbour) -> dict[str, Ask]:
    container, folder = _container(of), folder_in(of.vm.user_data)
    names = Names(SUBSCRIPTION, of.intent.region)
    vault = f"/vault/{names.vault(of.seat.number)}"
    return {
        "lists its folder": Ask("GET", f"{container}?restype=container&comp=list&prefix={folder}/"),
        "lists everything": Ask("GET", f"{container}?restype=container&comp=list"),
        "deletes its report": Ask("DELETE", f"{container}/{folder}/0/report.json"),
        "reads the leases": Ask("GET", f"{container}/{LEASES}"),
        "writes the leases": Ask("PUT", f"{container}/{LEASES}", b"{}", _WRITE),
        "deletes the leases": Ask("DELETE", f"{container}/{LEASES}"),
        "climbs out of its folder": Ask("GET", f"{container}/runs/{of.seat.number}"),
        "sets a secret": Ask("PUT", f"{vault}/secrets/x?api-version=7.4", b"{}"),
        "purges a secret": Ask("DELETE", f"{vault}/deletedsecrets/x?api-version=7.4"),
        "deletes the set-up": Ask("DELETE", f"{names.attempt(names.group)}?{_ARM}"),
        "sees its group": Ask("GET", f"{names.attempt(of.intent.token)}?{_ARM}"),
        "disarms the kill switch": Ask("DELETE", f"{names.workflow(of.intent.token)}?{_ARM}"),
    }


def _container(of: Neighbour) -> str:
    return f"/storage/{Names(SUBSCRIPTION, of.intent.region).account}/{NAME}"


BORDERS = Borders(
    own=_own,
    nobodys=_nobodys,
    far=("westeurope", "westeurope"),
    writes="Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    sold_out=lambda option: str(option.instance_type),
)
