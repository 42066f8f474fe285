"""The files beside this module that are written into pages."""

from functools import cache
from pathlib import Path

from mlbroker.broker.errors import MlbrokerError

FOLDER = Path(__file__).parent
LIBRARY = "vega.js"


def chart_library() -> str:
    """Vega-Lite and what it needs; MlbrokerError where this copy was never built."""
    try:
        return asset(LIBRARY)
    except FileNotFoundError:
        raise MlbrokerError(
            "this copy of mlbroker has no chart library, which a build makes",
            where=str(FOLDER / LIBRARY),
            hint="in a checkout, `pip install -e .` makes it",
        ) from None


@cache
def asset(name: str) -> str:
    """The text of one of them."""
    return (FOLDER / name).read_text(encoding="utf-8")
