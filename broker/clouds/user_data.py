"""The script a rented machine starts with: kill timer first, then the guest, then the end.

There are two: one for machines that end when they shut down, one for those that bill on.
"""

import base64
import hashlib

from mlbroker.broker.clouds.bucket import run_folder
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.guest.bundle import boot_program, guest_program

# What AWS takes, the least of all.
LIMIT_BYTES = 16384

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

# A machine that merely shuts down bills on, if only for its disk. So it has itself deleted, as the
# unprivileged user, and only when nothing else helped does it shut down. A second boot is the end
# too: what the job was doing is lost. Ubuntu's images, those with NVIDIA's driver among them, leave
# out what `python3 -m venv` needs, and the job's user could not install it.
_DELETING = """\
#!/bin/bash
left=$(({kill_at} - $(date +%s))); ((left < {lifetime})) || left={lifetime}; ((left > 0)) || left=1
export HOME="${{MLBROKER_GUEST_HOME:-/var/lib/mlbroker}}"
end="runuser -u mlbroker -- env PYTHONPATH=$HOME/boot.pyz python3 -m broker.clouds.{place}.guest"
systemd-run --quiet --unit=mlbroker-kill --on-active="${{left}}s" --timer-property=AccuracySec=1s \
bash -c "timeout 30 $end; poweroff -f" || \
{{ (sleep "$left"; timeout 30 $end; poweroff -f) </dev/null >/dev/null 2>&1 & }}
umask 022
[ ! -e "$HOME/boot.pyz" ] || exec $end
{first_boot}\
python3 -c 'import ensurepip' 2>/dev/null || ! command -v apt-get >/dev/null || {{ \
export DEBIAN_FRONTEND=noninteractive; timeout 120 apt-get -qq update; \
timeout 300 apt-get -qq -y -o DPkg::Lock::Timeout=240 install python3-venv; }} </dev/null
id -u mlbroker >/dev/null 2>&1 || useradd --system --home-dir "$HOME" --shell /bin/bash mlbroker
mkdir -p "$HOME" && chown mlbroker: "$HOME" && cd "$HOME" && base64 -d >boot.pyz <<'END'
{program}
END
runuser -u mlbroker -- python3 boot.pyz {arguments}
exec $end
"""


def start_script(
    intent: Intent,
    bucket: str,
    limit_bytes: int = LIMIT_BYTES,
    *,
    deletes: bool = False,
    later_s: int = 0,
    first_boot: str = "",
    folder: str | None = None,
) -> str:
    """What the attempt's machine starts with; `folder` is its own in the bucket, if not the usual.

    `deletes`: it has to have itself deleted, so long after the kill time. `first_boot` is a line
    that sees to it that the script runs at each later boot too.
    """
    # Those of the guest's boot module.
    arguments = [intent.cloud, intent.region, bucket, folder or run_folder(intent.token)]
    arguments.append(hashlib.sha256(guest_program()).hexdigest())
    # Only words get in that mean nothing to a shell.
    if not all(a.isascii() and a.replace("-", "").replace("/", "").isalnum() for a in arguments):
        raise ValueError(f"not fit for a script: {arguments}")
    later_s += intent.guest_late_s
    lifetime_s = max(1, int((intent.kill_at - intent.intended_at).total_seconds()))
    script = (_DELETING if deletes else _SCRIPT).format(
        kill_at=int(intent.kill_at.timestamp()) + later_s,
        lifetime=lifetime_s + later_s,
        place=intent.cloud,
        first_boot=first_boot,
        program=base64.encodebytes(boot_program(intent.cloud)).decode().strip(),
        arguments=" ".join(arguments),
    )
    if len(script.encode()) > limit_bytes:
        raise ValueError("the start-up script is larger than its cloud takes")
    return script
