"""How a check is shown. A new format is one file with a function and one entry here."""

from collections.abc import Callable
from importlib import import_module

from mlbroker.broker.ci.check import CostCheck

# Name -> module under this package, which has a function `render(check) -> str`.
FORMATS: dict[str, str] = {
    "table": "table",
    "json": "as_json",
    "markdown": "markdown",
    "junit": "junit",
    "sarif": "sarif",
}


def renderer(name: str) -> Callable[[CostCheck], str]:
    """The function that writes a check in the format `name`."""
    render: Callable[[CostCheck], str] = import_module(f"{__name__}.{FORMATS[name]}").render
    return render
