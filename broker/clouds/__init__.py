"""Where machines can be launched. Adding a cloud: one folder (or file) here, and one entry.

The files of a rented cloud's folder bear the same names everywhere: `cloud` is what a run talks
to, `calls` the vendor's interface, `request` what makes a machine, `machines` what the vendor says
of one, `network`, `names`, `roles`; `guest` travels to the machine. Commands find `setup`
(`init --cloud`), `doctor`, `proof` and `bill` by these names; a cloud without one has no such
command.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.clouds.understood import understood
from mlbroker.broker.errors import InputError
from mlbroker.pricing.vendors import LOCAL

_HERE = Path(__file__).parent

# A cloud's name is that of its folder or file; the module has `open_cloud(state folder)`, and is
# imported only then.
CLOUDS: dict[str, str] = {
    LOCAL: "mlbroker.broker.clouds.local",
    "ssh": "mlbroker.broker.clouds.ssh.cloud",
    "slurm": "mlbroker.broker.clouds.slurm.cloud",
    "kubernetes": "mlbroker.broker.clouds.kubernetes.cloud",
    "aws": "mlbroker.broker.clouds.aws.cloud",
    "gcp": "mlbroker.broker.clouds.gcp.cloud",
    "azure": "mlbroker.broker.clouds.azure.cloud",
}


def opener(home: Path) -> Callable[[str], Cloud]:
    """A function from a cloud's name to the cloud, which is opened once."""

    @cache
    def opened(name: str) -> Cloud:
        if name not in CLOUDS:
            raise InputError(
                f"mlbroker cannot launch on {name} yet",
                hint=f"It can launch on: {', '.join(sorted(CLOUDS))}.",
            )
        cloud: Cloud = import_module(CLOUDS[name]).open_cloud(home)
        return understood(cloud, name)

    return opened


def clouds_with(role: str) -> tuple[str, ...]:
    """The clouds whose folder has a file for this role."""
    return tuple(n for n in sorted(CLOUDS) if (_HERE / n / f"{role}.py").is_file())


def role_of(name: str, role: str) -> Any:
    """The module of a cloud's folder for this role, for a name that `clouds_with` gives."""
    return import_module(f"{__name__}.{name}.{role}")
