"""Where machines can be launched. Adding a cloud: one file, one entry here.

Each entry says how to open the cloud, given the state folder; its module is imported only then.
"""

from collections.abc import Callable
from pathlib import Path

from mlbroker.broker.clouds.interface import Cloud


def _local(home: Path) -> Cloud:
    from mlbroker.broker.clouds.local import LocalCloud

    return LocalCloud(home)


def _ssh(home: Path) -> Cloud:
    from mlbroker.broker.clouds.ssh import SshCloud

    return SshCloud(home)


def _aws(home: Path) -> Cloud:
    from mlbroker.broker.clouds.aws.cloud import AwsCloud

    return AwsCloud()


def _gcp(home: Path) -> Cloud:
    from mlbroker.broker.clouds.gcp.cloud import GcpCloud

    return GcpCloud()


def _azure(home: Path) -> Cloud:
    from mlbroker.broker.clouds.azure.cloud import AzureCloud

    return AzureCloud()


CLOUDS: dict[str, Callable[[Path], Cloud]] = {
    "local": _local,
    "ssh": _ssh,
    "aws": _aws,
    "gcp": _gcp,
    "azure": _azure,
}
