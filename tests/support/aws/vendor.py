"""AWS, for tests of what every rented cloud must do."""

from decimal import Decimal

from tests.support.aws.runs import AwsRuns, intent
from tests.support.aws.server import environment, serving
from tests.support.vendors import Vendor

from mlbroker.broker.clouds.aws.calls import Calls
from mlbroker.broker.clouds.aws.cloud import AwsCloud

VENDOR = Vendor(
    name="aws",
    says="AWS",
    serving=serving,
    environment=lambda url, _: environment(url),
    calls=Calls,
    cloud=AwsCloud,
    runs=AwsRuns,
    intent=intent,
    make="RunInstances",
    delete="TerminateInstances",
    small_cap="0.8",
    # S3 in São Paulo, where it is dearest: aws.amazon.com/s3/pricing, 2026-11.
    request_usd={"write": Decimal("0.000007"), "read": Decimal("0.00000056")},
    sleeper="botocore.endpoint",
)
