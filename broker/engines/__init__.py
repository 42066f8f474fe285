"""Engines that run services: how their files are written, and their maxima moved.

interface       what is asked of an engine
loopback, aws   engines whose maximum can be moved: NAME:TARGET opens one
"""

from importlib import import_module

from mlbroker.broker.engines.interface import Switch
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted

# Each has `opened(target)`, and `TARGET` in words; a vendor's library takes its time to import.
SWITCHES = {
    "aws": "mlbroker.broker.engines.aws",
    "loopback": "mlbroker.broker.engines.loopback",
}


def open_switch(address: str) -> Switch:
    """The engine of `NAME:TARGET`. InputError for one that is not known."""
    name, _, target = address.partition(":")
    if name not in SWITCHES:
        raise InputError(
            f"there is no engine {quoted(name)} whose maximum can be moved",
            where="--engine",
            hint=nearest_hint(name, list(SWITCHES)),
        )
    module = import_module(SWITCHES[name])
    if not target:
        raise InputError(
            "says no target", where="--engine", hint=f"--engine {name}:{module.TARGET}"
        )
    switch: Switch = module.opened(target)
    return switch
