"""Libraries that only some need: the extras of this package, and what installs them."""

import shlex
import sys


def how_to_install(extra: str) -> str | None:
    """The command, for the Python that runs this; None where there is no such extra.

    It names the libraries, not mlbroker: that may have come from a checkout or a wheel, and an
    index may know somebody else's by its name.
    """
    # Slow, and hardly ever needed.
    from importlib.metadata import requires
    from importlib.util import find_spec

    split = [line.partition(";") for line in requires("mlbroker") or ()]
    wanted = [what.strip() for what, _, marker in split if marker.strip() == f"extra == '{extra}'"]
    if not wanted:
        return None
    # Environments of uv have no pip of their own.
    pip = [sys.executable, "-m", "pip", "install"]
    if find_spec("pip") is None:
        pip = ["uv", "pip", "install", "--python", sys.executable]
    return f"Install it: {shlex.join([*pip, *wanted])}"
