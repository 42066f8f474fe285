"""What a shell offers for a word that is begun: runs, places, machine types, regions, clouds.

It asks with every key: what would take time is not loaded, and what cannot be read is not offered.
"""

import os

from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.home import home
from mlbroker.broker.prices.known_names import MOST, known_names
from mlbroker.pricing.vendors import LOCAL


def runs(incomplete: str) -> list[str]:
    """Runs of this state folder, the newest first."""
    folder = home() / "runs"
    found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted((name for name in found if name.startswith(incomplete)), reverse=True)[:MOST]


def places(incomplete: str) -> list[str]:
    """This machine, and the user's own by their names."""
    from mlbroker.broker.files.nodes import load_nodes, nodes_file

    try:
        path = nodes_file(home())
        nodes = [node.name for node in load_nodes(path)] if path else []
    except MlbrokerError:
        nodes = []
    return [name for name in dict.fromkeys([LOCAL, *nodes]) if name.startswith(incomplete)]


def types(incomplete: str) -> list[str]:
    """Machine types of the price book."""
    return known_names(home(), "type", incomplete)


def regions(incomplete: str) -> list[str]:
    """Regions of the price book."""
    return known_names(home(), "region", incomplete)


def clouds(incomplete: str) -> list[str]:
    """Clouds of the price book."""
    return known_names(home(), "cloud", incomplete)


def command_asked_for() -> str | None:
    """The command in the line that the shell asks about; None where there is none yet."""
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS") or ""
    return next((word for word in line.split()[1:] if not word.startswith("-")), None)
