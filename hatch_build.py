"""What a build adds to the source: the chart library of the HTML pages, which is not committed.

Vega, Vega-Lite and Vega-Embed (BSD-3-Clause, see NOTICE) come out of the wheel of
`vl-convert-python`, in one file, without any network.
"""

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = Path("broker", "report", "vega.js")
# Vega-Embed brings the tooltips, and the interpreter that needs no `eval`.
SNIPPET = "window.vegaEmbed = vegaEmbed;"


class ChartLibrary(BuildHookInterface):
    """Makes the library before the wheel, or the editable install, is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling; what git ignores is in the wheel only as an artifact."""
        write_library(Path(self.root) / LIBRARY)
        build_data["artifacts"].append(f"/{LIBRARY.as_posix()}")


def write_library(path: Path) -> None:
    """Make the library at `path`, at once: others may read the old one meanwhile."""
    import vl_convert

    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_text(vl_convert.javascript_bundle(SNIPPET), encoding="utf-8")
    new.replace(path)
