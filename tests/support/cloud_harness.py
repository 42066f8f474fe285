"""How the conformance suite gets at a cloud: one harness each, found by its name.

A harness's module has a function `open_harness(folder)`, a context manager that yields one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from mlbroker.testing.clouds import Harness

_HERE = Path(__file__).parent
# Cloud -> its harness's module: `harness_NAME.py`, or `harness.py` in a folder of its name.
HARNESSES = {
    **{p.stem.removeprefix("harness_"): f"tests.support.{p.stem}" for p in _HERE.glob("harness_*")},
    **{p.parent.name: f"tests.support.{p.parent.name}.harness" for p in _HERE.glob("*/harness.py")},
}


@contextmanager
def open_harness(name: str, folder: Path) -> Iterator[Harness]:
    """The harness of this cloud."""
    with import_module(HARNESSES[name]).open_harness(folder) as harness:
        yield harness
