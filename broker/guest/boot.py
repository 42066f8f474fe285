"""The first program on a rented machine: fetches the whole guest program, and becomes it."""

import hashlib
import os
import sys
from typing import List

from .vendor import opened

_BECOME = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from broker.guest.courier import main; sys.exit(main(sys.argv[1:]))"
)


def main(arguments: List[str]) -> None:
    """`CLOUD REGION BUCKET FOLDER SHA256`, in the folder to work in."""
    cloud, region, bucket, folder, expected = arguments
    program = os.path.abspath("guest.pyz")
    if not opened(cloud, region, bucket).get_file(folder + "/guest.pyz", program):
        raise SystemExit("the bucket has no guest program for this machine, or may not be read")
    with open(program, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != expected:
        raise SystemExit("the guest program is not the one that was sent")
    box = os.path.abspath("box")
    os.execv(  # noqa: S606  # an argv list, no shell
        sys.executable,
        [sys.executable, "-c", _BECOME, program, cloud, region, bucket, folder, box],
    )
