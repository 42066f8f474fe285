"""How the conformance suite gets at a cloud: one harness each, one entry here for a new one.

A harness's module has a function `open_harness(folder)`, a context manager that yields one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from mlbroker.testing.clouds import Harness

HARNESSES = {
    "simulator": "tests.support.harness_simulator",
    "local": "tests.support.harness_local",
    "ssh": "tests.support.harness_ssh",
    "aws": "tests.support.aws.harness",
    "gcp": "tests.support.gcp.harness",
    "azure": "tests.support.azure.harness",
}


@contextmanager
def open_harness(name: str, folder: Path) -> Iterator[Harness]:
    """The harness of this cloud."""
    with import_module(HARNESSES[name]).open_harness(folder) as harness:
        yield harness
