"""Azure, for tests of what every rented cloud must do."""

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
    sleeper="azure.core.pipeline.transport._base",
    waits={"mlbroker.broker.clouds.azure.calls.WAIT_S": 5.0},
)
