"""Azure, for tests of what every rented cloud must do."""

from decimal import Decimal

from tests.support.azure.runs import AzureRuns, intent
from tests.support.azure.server import environment, serving
from tests.support.vendors import Vendor

from mlbroker.broker.clouds.azure.calls import Calls
from mlbroker.broker.clouds.azure.cloud import AzureCloud

VENDOR = Vendor(
    name="azure",
    says="Azure",
    serving=serving,
    environment=lambda url, _: environment(url),
    calls=Calls,
    cloud=AzureCloud,
    runs=AzureRuns,
    intent=intent,
    make="Microsoft.Compute/virtualMachines/write",
    delete="Microsoft.Resources/subscriptions/resourceGroups/delete",
    small_cap="1.2",
    # Hot LRS in East US: azure.microsoft.com/pricing/details/storage/blobs, 2026-11.
    request_usd={"write": Decimal("0.000005"), "read": Decimal("0.0000004")},
    sleeper="azure.core.pipeline.transport._base",
    waits={"mlbroker.broker.clouds.azure.calls.WAIT_S": 5.0},
)
