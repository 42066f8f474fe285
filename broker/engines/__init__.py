"""Engines that run a service's replicas: what is asked of one, and the file of each, written.

interface, common       what is asked of an engine; what several share
skyserve … gcp_mig      an engine each: a new one is a module and an entry here
"""

from importlib import import_module
from typing import cast

from mlbroker.broker.engines.interface import Exporter

EXPORTERS = {
    "skyserve": "skyserve",
    "kserve": "kserve",
    "keda": "keda",
    "hpa": "hpa",
    "ray-serve": "ray_serve",
    "aws-asg": "aws_asg",
    "gcp-mig": "gcp_mig",
}


def exporter(name: str) -> Exporter:
    """Writes that engine's file."""
    return cast(Exporter, import_module(f"{__name__}.{EXPORTERS[name]}"))
