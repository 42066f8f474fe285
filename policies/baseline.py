"""What people would have taken without mlbroker: the machine a saving is measured against."""

from collections.abc import Sequence

from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import InstanceType

# By cloud: the home region of most accounts, and the types most jobs land on, smallest first.
# The CPU list starts at 8 vCPUs, SkyPilot's default size for a job that names none.
USUAL_REGION = {"aws": "us-east-1", "gcp": "us-central1", "azure": "eastus"}
USUAL_TYPES = {
    "aws": (
        *("m5.2xlarge", "m5.4xlarge", "m5.8xlarge", "m5.12xlarge", "m5.16xlarge", "m5.24xlarge"),
        *("r5.4xlarge", "r5.8xlarge", "r5.24xlarge"),
        *("g4dn.xlarge", "g5.xlarge", "g6.xlarge", "g6e.xlarge", "p3.2xlarge"),
        *("g4dn.12xlarge", "g5.12xlarge", "g6.12xlarge", "p3.8xlarge", "p3.16xlarge"),
        *("g5.48xlarge", "p4d.24xlarge", "p4de.24xlarge", "p5.48xlarge"),
    ),
    "gcp": (
        *("n2-standard-8", "n2-standard-16", "n2-standard-32", "n2-standard-64"),
        *("n2-highmem-16", "n2-highmem-64"),
        *("g2-standard-4", "a2-highgpu-1g", "a2-ultragpu-1g", "a2-highgpu-8g", "a3-highgpu-8g"),
    ),
    "azure": (
        *("Standard_D8s_v5", "Standard_D16s_v5", "Standard_D32s_v5", "Standard_D64s_v5"),
        *("Standard_E16s_v5", "Standard_E64s_v5"),
        *("Standard_NC4as_T4_v3", "Standard_NC6s_v3", "Standard_NC24ads_A100_v4"),
        *("Standard_ND96asr_v4", "Standard_ND96isr_H100_v5"),
    ),
}


def usual_type(
    requirements: Requirements,
    running: Sequence[tuple[int, InstanceType]],
    clouds: Sequence[str],
) -> tuple[int, str] | tuple[None, None]:
    """The first usual type among those `running` (with their ids) that meets the job's first
    wish, with its home region.
    """
    wanted = {name for cloud in clouds for name in USUAL_TYPES.get(cloud, ())}
    known = {(kind.cloud, kind.name): (n, kind) for n, kind in running if kind.name in wanted}
    for cloud in clouds:
        for name in USUAL_TYPES.get(cloud, ()):
            number, kind = known.get((cloud, name), (None, None))
            if number is None or kind is None or requirements.unmet(kind.hardware):
                continue
            # A job that asks for no GPU would not have been given one.
            if (kind.hardware.gpu is None) == (requirements.gpu_model is None):
                return number, USUAL_REGION[cloud]
    return None, None
