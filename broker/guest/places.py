"""Opens the place a rented machine stands in, by the name that its start-up script gives.

A place has: get, get_file, put, put_file (the run's bucket), secrets, forget_secrets, address,
rank and interruption. The first program on a machine carries the modules of its own place alone.
"""

from typing import Any


def opened(name: str, region: str, bucket: str) -> Any:
    """The place of this name, seen from the machine with its own identity."""
    if name == "aws":
        from .on_aws import Aws

        return Aws(region, bucket)
    if name == "gcp":
        from .on_gcp import Gcp

        return Gcp(bucket)
    raise SystemExit("mlbroker knows no place called " + name)
