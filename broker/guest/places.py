"""What a rented machine asks its cloud for, and who answers it where.

The first program on a machine carries the modules of its own place alone.
"""

from typing import Dict, List, Optional, Protocol


class Place(Protocol):
    """A machine's view of its cloud, with its own identity; keys are those of the run's bucket."""

    def address(self) -> str: ...

    def rank(self) -> int: ...

    def interruption(self) -> Optional[str]: ...

    def get(self, key: str) -> Optional[bytes]: ...

    def get_file(self, key: str, path: str) -> bool: ...

    def put(self, key: str, data: bytes) -> None: ...

    def put_file(self, key: str, path: str) -> None: ...

    def secrets(self, path: str) -> Dict[str, str]: ...

    def forget_secrets(self, path: str, names: List[str]) -> None: ...


def opened(name: str, region: str, bucket: str) -> Place:
    """The place of this name."""
    if name == "aws":
        from .on_aws import Aws

        return Aws(region, bucket)
    if name == "gcp":
        from .on_gcp import Gcp

        return Gcp(bucket)
    if name == "azure":
        from .on_azure import Azure

        return Azure(bucket)
    raise SystemExit("mlbroker knows no place called " + name)
