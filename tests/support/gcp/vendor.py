"""Google Cloud, for tests of what every rented cloud must do."""

from decimal import Decimal

from tests.support.gcp.runs import GcpRuns, intent
from tests.support.gcp.server import environment, serving
from tests.support.vendors import Vendor

from mlbroker.broker.clouds.gcp.calls import Calls
from mlbroker.broker.clouds.gcp.cloud import LATER_S, GcpCloud

VENDOR = Vendor(
    name="gcp",
    says="Google Cloud",
    serving=serving,
    environment=environment,
    calls=Calls,
    cloud=GcpCloud,
    runs=GcpRuns,
    intent=intent,
    make="compute.instances.insert",
    delete="compute.instances.delete",
    small_cap="0.6",
    # cloud.google.com/storage/pricing, 2026-11: Standard storage in a region.
    request_usd={"write": Decimal("0.000005"), "read": Decimal("0.0000004")},
    timer_later_s=LATER_S,
    sleeper="google.api_core.retry.retry_unary",
)
