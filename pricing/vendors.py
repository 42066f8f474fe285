"""What is particular to each place where machines are bought: one record a cloud.

A cloud without a record works too, and never looks cheap: its meter is the strictest there is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from mlbroker.pricing.aws_types import aws_not_launchable
from mlbroker.pricing.azure_types import azure_not_launchable
from mlbroker.pricing.bucket import BLOB_REQUESTS, GCS_REQUESTS, S3_REQUESTS, RequestPrices
from mlbroker.pricing.burst import AWS_CREDITS, GCP_CREDITS, Credits, azure_credits
from mlbroker.pricing.disks import azure_billed_gb
from mlbroker.pricing.gcp_types import gcp_not_launchable
from mlbroker.pricing.launchable import Launch
from mlbroker.pricing.offer import InstanceType

# The cloud that is this machine.
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Meter:
    """How a vendor counts time, in seconds: at least `minimum_s`, disks in begun `disk_step_s`."""

    minimum_s: Decimal = Decimal(0)
    disk_step_s: Decimal = Decimal(1)


def series_of(instance_type: str) -> str:
    """What comes before the first of `.-_`: m5 of m5.large, n1 of n1-standard-4."""
    for mark in ".-_":
        instance_type = instance_type.split(mark, 1)[0]
    return instance_type


def letters_of(name: str) -> str:
    """What comes before the first digit: p of p4d.24xlarge; all of a name that begins with one."""
    letters = len(name) - len(name.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    return name[:letters] or name


def aws_quota_family(instance_type: str) -> str:
    """Letters: p of p4d.24xlarge. P5 and later have a spot quota of their own (L-C4BD4855)."""
    return "p5" if instance_type.startswith(("p5", "p6")) else letters_of(instance_type)


def _azure_family(instance_type: str) -> str:
    """D of Standard_D4s_v5."""
    size = instance_type.removeprefix("Standard_").removeprefix("Basic_")
    return series_of(instance_type) if size == instance_type else letters_of(size)


def _no_credits(instance_type: str) -> None:
    return None


def _always_launchable(kind: InstanceType, launch: Launch) -> None:
    return None


class Vendor(NamedTuple):
    """One cloud.

    `setup_s` is from the create call to the job's own command. `usual_region` is the home of most
    accounts, and `usual_types` what most jobs land on there, smallest first. `family` is what
    policy files call a type's family, `quota_family` that under which the vendor counts it.
    `not_launchable` tells why a run could not use a type; None where it can.
    A disk is billed as `billed_disk_gb` of its size, the bucket's requests at `requests`.
    A spot machine is reckoned at up to `spot_headroom` times its price, and a bid has to be above
    `least_bid_usd`.
    `own` machines are the user's: nobody meters their disk, address and traffic. Where it
    `schedules`, a machine stays pending for as long as its queue likes and costs nothing meanwhile;
    its life counts from its start. One run has `most_nodes` of them at once; None: as many as it
    asks for.
    """

    name: str
    meter: Meter
    setup_s: float
    own: bool = False
    schedules: bool = False
    most_nodes: int | None = None
    usual_region: str | None = None
    usual_types: tuple[str, ...] = ()
    family: Callable[[str], str] = series_of
    quota_family: Callable[[str], str] = str
    credits: Callable[[str], Credits | None] = _no_credits
    billed_disk_gb: Callable[[int], Decimal] = Decimal
    requests: RequestPrices = BLOB_REQUESTS  # the dearest
    not_launchable: Callable[[InstanceType, Launch], str | None] = _always_launchable
    spot_headroom: Decimal = Decimal("1.25")
    least_bid_usd: Decimal = Decimal(0)


# Meters are of Linux machines, from the vendors' pricing pages, read 2026-11. AWS EC2 bills per
# second with a minimum of 60 s, as do EBS volumes and public IPv4 addresses. Google Compute Engine
# bills machines per second with a minimum of one minute. Azure bills machines per second and
# managed SSD disks per full hour. Machines of one's own bill per second without a minimum.
#
# Set-up times are to the first step of a container job: medians over machines of each cloud,
# rounded (Spare Cores inspector, 2026-08; AWS 159 s, GCP 193 s, Azure 274 s, all others 183 s).
#
# Lists of usual types start, for CPUs, at 8 vCPUs: SkyPilot's default for a job that names none.
VENDORS = {
    "aws": Vendor(
        "AWS",
        Meter(Decimal(60)),
        setup_s=160.0,
        usual_region="us-east-1",
        usual_types=(
            *("m5.2xlarge", "m5.4xlarge", "m5.8xlarge"),
            *("m5.12xlarge", "m5.16xlarge", "m5.24xlarge"),
            *("r5.4xlarge", "r5.8xlarge", "r5.24xlarge"),
            *("g4dn.xlarge", "g5.xlarge", "g6.xlarge", "g6e.xlarge"),
            *("g4dn.12xlarge", "g5.12xlarge", "g6.12xlarge"),
            *("g5.48xlarge", "p4d.24xlarge", "p4de.24xlarge", "p5.48xlarge"),
        ),
        quota_family=aws_quota_family,
        credits=AWS_CREDITS.get,
        not_launchable=aws_not_launchable,
        # EC2 API reference, SpotMarketOptions.MaxPrice: "must be more than USD $0.001".
        requests=S3_REQUESTS,
        least_bid_usd=Decimal("0.001"),
    ),
    "gcp": Vendor(
        "Google Cloud",
        Meter(Decimal(60)),
        setup_s=195.0,
        usual_region="us-central1",
        usual_types=(
            *("n2-standard-8", "n2-standard-16", "n2-standard-32", "n2-standard-64"),
            *("n2-highmem-16", "n2-highmem-64"),
            *("g2-standard-4", "a2-highgpu-1g", "a2-ultragpu-1g", "a2-highgpu-8g"),
            "a3-highgpu-8g",
        ),
        quota_family=series_of,
        credits=GCP_CREDITS.get,
        not_launchable=gcp_not_launchable,
        requests=GCS_REQUESTS,
    ),
    "azure": Vendor(
        "Azure",
        Meter(Decimal(60), Decimal(3600)),
        setup_s=275.0,
        usual_region="eastus",
        usual_types=(
            *("Standard_D8s_v5", "Standard_D16s_v5", "Standard_D32s_v5", "Standard_D64s_v5"),
            *("Standard_E16s_v5", "Standard_E64s_v5"),
            *("Standard_NC4as_T4_v3", "Standard_NC6s_v3", "Standard_NC24ads_A100_v4"),
            *("Standard_ND96asr_v4", "Standard_ND96isr_H100_v5"),
        ),
        family=_azure_family,
        credits=azure_credits,
        not_launchable=azure_not_launchable,
        billed_disk_gb=azure_billed_gb,
    ),
    "ssh": Vendor("SSH", Meter(), setup_s=5.0, own=True, most_nodes=1),
    "slurm": Vendor("Slurm", Meter(), setup_s=5.0, own=True, most_nodes=1, schedules=True),
    # A guess: the pull of an image that the node has not yet takes minutes.
    "kubernetes": Vendor(
        "Kubernetes", Meter(), setup_s=20.0, own=True, most_nodes=1, schedules=True
    ),
    LOCAL: Vendor("this machine", Meter(), setup_s=1.0, own=True, most_nodes=1),
}
_UNKNOWN = Vendor("the cloud", Meter(Decimal(60), Decimal(3600)), setup_s=185.0)


def vendor(cloud: str) -> Vendor:
    """The record of a cloud; a cautious one where there is none."""
    return VENDORS.get(cloud, _UNKNOWN)
