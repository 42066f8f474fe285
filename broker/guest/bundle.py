"""The guest's programs as files that any machine with Python 3.8 can run.

In them stands what of `broker` travels, under the same names: imports are relative everywhere.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from mlbroker.broker.guest.box import PROBE

_ENTRY = "import sys\nfrom broker.guest.{} import main\nsys.exit(main(sys.argv[1:]))\n"
_BROKER = files("mlbroker.broker")


@cache
def guest_program() -> bytes:
    """A zip archive to be run as `python3 FILE ACTION BOX`; the same bytes every time."""
    own = sorted(m.name for m in (_BROKER / "guest").iterdir() if m.name.endswith(".py"))
    clouds = sorted(f.name for f in (_BROKER / "clouds").iterdir() if f.is_dir())
    modules = [f"guest/{name}" for name in own if name not in ("__init__.py", "bundle.py")]
    modules += [module for cloud in clouds for module in _modules_of(cloud)]
    entries = dict(_entries("main", modules))
    # What counts the steps of the job's Pythons, which read modules from inside the archive.
    probe = files("mlbroker.profiles") / "probe"
    hooks = sorted(m.name for m in (probe / "mlbroker_probe").iterdir() if m.name.endswith(".py"))
    start = ("sitecustomize.py", "mlbroker_imports.py")
    for name in (*start, *(f"mlbroker_probe/{hook}" for hook in hooks)):
        entries[f"{PROBE}/{name}"] = probe.joinpath(name).read_text("utf-8")
    return _archive(entries, zipfile.ZIP_STORED)


def boot_program(cloud: str) -> bytes:
    """What a rented machine starts with: it knows its own cloud, and fetches the whole program."""
    modules = ["guest/boot.py", "guest/pace.py", "guest/vendor.py", *_modules_of(cloud)]
    return _archive(dict(_entries("boot", modules)), zipfile.ZIP_DEFLATED)


def _modules_of(cloud: str) -> list[str]:
    """What of a cloud's folder travels is called so."""
    names = sorted(module.name for module in (_BROKER / "clouds" / cloud).iterdir())
    return [f"clouds/{cloud}/{n}" for n in names if n.startswith("guest") and n.endswith(".py")]


def _entries(main: str, modules: list[str]) -> Iterator[tuple[str, str]]:
    yield "__main__.py", _ENTRY.format(main)
    folders = {"", *(m[: i + 1] for m in modules for i, letter in enumerate(m) if letter == "/")}
    for folder in sorted(folders):
        yield f"broker/{folder}__init__.py", ""
    for module in modules:
        yield f"broker/{module}", (_BROKER / module).read_text(encoding="utf-8")


def _archive(entries: Mapping[str, str], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, text in entries.items():
            # A fixed date: equal programs are equal files, and equal launch requests.
            member = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            member.compress_type = compression
            archive.writestr(member, text)
    return buffer.getvalue()
