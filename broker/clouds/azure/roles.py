"""The least rights that do: for who launches, and for the machines.

Every action here is used, and nothing is called that needs another; a test holds both to it.
"""

from mlbroker.broker.clouds.seats import seat_folder

# In the subscription, for the user, or the CI job, that calls `mlbroker run`. Whoever asks for a
# machine has to be able to read the image that it starts from, wherever that is kept.
LAUNCHER = (
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Compute/galleries/images/read",
    "Microsoft.Compute/galleries/images/versions/read",
    "Microsoft.Compute/images/read",
    "Microsoft.Compute/locations/communityGalleries/images/read",
    "Microsoft.Compute/locations/communityGalleries/images/versions/read",
    "Microsoft.Compute/locations/operations/read",
    "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions/read",
    "Microsoft.Compute/locations/sharedGalleries/images/read",
    "Microsoft.Compute/locations/sharedGalleries/images/versions/read",
    "Microsoft.Compute/locations/usages/read",
    "Microsoft.Compute/skus/read",
    "Microsoft.Compute/virtualMachines/delete",
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/retrieveBootDiagnosticsData/action",
    "Microsoft.Compute/virtualMachines/write",
    "Microsoft.CostManagement/query/action",
    "Microsoft.Insights/eventtypes/values/Read",
    "Microsoft.Logic/workflows/delete",
    "Microsoft.Logic/workflows/read",
    "Microsoft.Logic/workflows/write",
    "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
    "Microsoft.ManagedIdentity/userAssignedIdentities/read",
    "Microsoft.Network/networkInterfaces/join/action",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Network/networkSecurityGroups/join/action",
    "Microsoft.Network/networkSecurityGroups/read",
    "Microsoft.Network/publicIPAddresses/join/action",
    "Microsoft.Network/publicIPAddresses/read",
    "Microsoft.Network/publicIPAddresses/write",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
    "Microsoft.Network/virtualNetworks/subnets/read",
    "Microsoft.Resources/subscriptions/resourceGroups/delete",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.Resources/subscriptions/resourceGroups/write",
)
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
LAUNCHER_DATA = (
    "Microsoft.KeyVault/vaults/secrets/delete",
    "Microsoft.KeyVault/vaults/secrets/purge/action",
    "Microsoft.KeyVault/vaults/secrets/setSecret/action",
    f"{_BLOBS}/delete",
    f"{_BLOBS}/read",
    f"{_BLOBS}/write",
)
# For the machines, on their seat's vault, and in their seat's folder of the container: their job
# in, their results out.
GUEST_DATA = (
    "Microsoft.KeyVault/vaults/secrets/delete",
    "Microsoft.KeyVault/vaults/secrets/getSecret/action",
    f"{_BLOBS}/read",
    f"{_BLOBS}/write",
)
# On the groups of runs alone, given with each group: the end of the machine.
GUEST = (
    "Microsoft.Compute/virtualMachines/delete",
    "Microsoft.Resources/subscriptions/resourceGroups/delete",
)


def own_blobs(seat: str) -> str:
    """The condition of a seat's rights on the container: its own folder.

    Listing asks for the same right as reading but is of no blob, and so is refused
    (learn.microsoft.com/azure/storage/blobs/storage-auth-abac-attributes).
    """
    asked = " AND ".join(f"!(ActionMatches{{'{_BLOBS}/{what}'}})" for what in ("read", "write"))
    return f"(({asked}) OR (@Resource[{_BLOBS}:path] StringLike '{seat_folder(seat)}/*'))"
