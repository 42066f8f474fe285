"""A vendor's own library, which only those install who launch there."""

from collections.abc import Iterator
from contextlib import contextmanager

from mlbroker.broker.clouds.interface import Denied
from mlbroker.broker.extras import how_to_install
from mlbroker.pricing.vendors import vendor


@contextmanager
def library(cloud: str) -> Iterator[None]:
    """Raises Denied, with what to do, where something of this cloud's extra is not installed."""
    try:
        yield
    except ImportError as error:
        name = error.name or "mlbroker"
        if name.partition(".")[0] == "mlbroker":
            raise
        what = f"this needs {vendor(cloud).name}'s library, and there is no module {name}"
        raise Denied(what, hint=how_to_install(cloud)) from None
