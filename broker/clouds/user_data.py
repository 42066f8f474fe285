"""The script a rented machine starts with: kill timer first, then the guest, then the end."""

import base64
import io
import zipfile
from importlib.resources import files

LIMIT_BYTES = 16384
_MODULES = {"aws": ("sigv4", "on_aws"), "gcp": ("on_gcp",), "azure": ("on_azure",)}
_MAIN = "import sys\nfrom guest.boot import main\nmain(sys.argv[1:])\n"

# The timer counts in the machine's own time, and never longer than the whole life it was given:
# a machine with a wrong date must not outlive its cap.
_SCRIPT = """\
#!/bin/bash
left=$(({kill_at} - $(date +%s))); ((left < {lifetime})) || left={lifetime}; ((left > 0)) || left=1
systemd-run --quiet --unit=mlbroker-kill --on-active="${{left}}s" --timer-property=AccuracySec=1s \
poweroff -f || {{ (sleep "$left"; poweroff -f) </dev/null >/dev/null 2>&1 & }}
umask 022
export HOME="${{MLBROKER_GUEST_HOME:-/var/lib/mlbroker}}"
id -u mlbroker >/dev/null 2>&1 || useradd --system --home-dir "$HOME" --shell /bin/bash mlbroker
mkdir -p "$HOME" && chown mlbroker: "$HOME" && cd "$HOME" && base64 -d >boot.pyz <<'END'
{program}
END
runuser -u mlbroker -- python3 boot.pyz {arguments}
poweroff -f
"""


def user_data(arguments: list[str], kill_at: int, lifetime_s: int) -> str:
    """The script; `arguments` are those of the guest's boot module, the first names the place."""
    check_arguments(arguments)
    text = boot_program(arguments[0])
    script = _SCRIPT.format(
        kill_at=kill_at, lifetime=lifetime_s, program=text, arguments=" ".join(arguments)
    )
    if len(script.encode()) > LIMIT_BYTES:
        raise ValueError("the start-up script is larger than clouds take")
    return script


def check_arguments(arguments: list[str]) -> None:
    """Let only words through that mean nothing to a shell."""
    if not all(a.isascii() and a.replace("-", "").replace("/", "").isalnum() for a in arguments):
        raise ValueError(f"not fit for a script: {arguments}")


def boot_program(place: str) -> str:
    """The first program on a machine of this place, as text that a script can carry."""
    source = files("mlbroker.broker.guest")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entries = {"__main__.py": _MAIN, "guest/__init__.py": ""}
        for name in (*_MODULES[place], "vendor", "places", "boot"):
            entries[f"guest/{name}.py"] = (source / f"{name}.py").read_text(encoding="utf-8")
        for name, text in entries.items():
            # A fixed date: equal programs are equal files, and equal launch requests.
            member = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, text)
    return base64.encodebytes(buffer.getvalue()).decode().strip()
