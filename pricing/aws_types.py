"""AWS's machine types that its images do not serve.

A run starts with Amazon Linux 2023, and where there is an NVIDIA GPU with its Deep Learning Base
image with the open driver. Read 2026-11: docs.aws.amazon.com/linux/al2023/ug/system-requirements
("AL2023 does not support A1 instances"), and the images' release notes, field
`supported_ec2_instances` (docs.aws.amazon.com/dlami, gpubaseoss-al2023: no GPU before Turing, no
part of a GPU).
"""

from mlbroker.pricing.launchable import Launch
from mlbroker.pricing.offer import InstanceType

_NO_DRIVER = "no image of AWS's that a run starts with has a driver for its {}"
# NVIDIA's open kernel modules know Turing and later.
_REASONS = {
    "a1": "Amazon Linux 2023 needs a Graviton2 or later",
    **dict.fromkeys(("g2", "g3", "g3s", "p2", "p3", "p3dn"), _NO_DRIVER.format("old GPU")),
    **dict.fromkeys(("g6f", "gr6f"), _NO_DRIVER.format("part of a GPU")),
    # Of before 2010, on whatever processor there is: the same page asks for x86-64-v2.
    **dict.fromkeys(("c1", "m1", "m2", "t1"), "Amazon Linux 2023 may need a newer processor"),
    "g4ad": _NO_DRIVER.format("AMD GPU"),
    # Their drivers come with images of their own (Neuron, Habana, Qualcomm), which no run starts
    # with: docs.aws.amazon.com/dlami, "Base DLAMI Neuron" and "Habana"; read 2026-11.
    **dict.fromkeys(
        ("inf1", "inf2", "trn1", "trn1n", "trn2", "trn2u", "dl1", "dl2q"),
        _NO_DRIVER.format("accelerator"),
    ),
}


def aws_not_launchable(kind: InstanceType, launch: Launch) -> str | None:
    """Why a run could not use the type, or None."""
    return None if launch.own_image else _REASONS.get(kind.name.partition(".")[0])
