"""The guest program as one file that any machine with Python 3.8 can run."""

import io
import zipfile
from importlib.resources import files

from mlbroker.broker.guest.box import PROBE

ENTRY = "import sys\nfrom guest.main import main\nsys.exit(main(sys.argv[1:]))\n"


def guest_program() -> bytes:
    """A zip archive to be run as `python3 FILE ACTION BOX`; the same bytes every time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, "__main__.py", ENTRY)
        for module in sorted(files("mlbroker.broker.guest").iterdir(), key=lambda m: m.name):
            if module.name.endswith(".py") and module.name != "bundle.py":
                _add(archive, f"guest/{module.name}", module.read_text(encoding="utf-8"))
        # What jobs import as `mlbroker_probe`; Python reads modules from inside the archive.
        probe = files("mlbroker.profiles").joinpath("probe").joinpath("mlbroker_probe")
        for name in ("__init__.py", "_events.py", "_tell.py"):
            _add(archive, f"{PROBE}/mlbroker_probe/{name}", probe.joinpath(name).read_text("utf-8"))
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    # A fixed date: equal programs are equal files.
    archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), text)
