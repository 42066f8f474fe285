"""Engines that run services: the file of each with its ceiling, and maxima that are moved.

interface, common       what is asked of an engine; what several files share
skyserve … azure_vmss   an engine's file each: a new one is a module and an entry here
loopback, aws           engines whose maximum can be moved: NAME:TARGET opens one
"""

from importlib import import_module
from typing import cast

from mlbroker.broker.engines.interface import Exporter, Switch
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted

EXPORTERS = {
    "skyserve": "skyserve",
    "kserve": "kserve",
    "keda": "keda",
    "hpa": "hpa",
    "ray-serve": "ray_serve",
    "aws-asg": "aws_asg",
    "gcp-mig": "gcp_mig",
    "azure-vmss": "azure_vmss",
}
# Each has `opened(target)`, and `TARGET` in words; a vendor's library takes its time to import.
SWITCHES = {"aws": "aws", "loopback": "loopback"}


def exporter(name: str) -> Exporter:
    """Writes that engine's file."""
    return cast(Exporter, import_module(f"{__name__}.{EXPORTERS[name]}"))


def open_switch(address: str) -> Switch:
    """The engine of `NAME:TARGET`. InputError for one that is not known."""
    name, _, target = address.partition(":")
    if name not in SWITCHES:
        raise InputError(
            f"there is no engine {quoted(name)} whose maximum can be moved",
            where="--engine",
            hint=nearest_hint(name, list(SWITCHES)),
        )
    module = import_module(f"{__name__}.{SWITCHES[name]}")
    if not target:
        raise InputError(
            "says no target", where="--engine", hint=f"--engine {name}:{module.TARGET}"
        )
    switch: Switch = module.opened(target)
    return switch
