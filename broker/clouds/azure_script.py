"""The script that a machine on Azure starts with, and ends with."""

from mlbroker.broker.clouds.user_data import boot_program, check_arguments

# What Azure takes, before it is wrapped for travelling.
_LIMIT_BYTES = 65535

# A machine that merely shuts down bills on. So it has its whole resource group deleted, as the
# unprivileged user, and only when nothing else helped does it shut down. A second boot is the end
# too: what the job was doing is lost. cloud-init runs the script once, and what lies in that
# folder at every boot.
_SCRIPT = """\
#!/bin/bash
left=$(({kill_at} - $(date +%s))); ((left < {lifetime})) || left={lifetime}; ((left > 0)) || left=1
export HOME="${{MLBROKER_GUEST_HOME:-/var/lib/mlbroker}}"
end="runuser -u mlbroker -- env PYTHONPATH=$HOME/boot.pyz python3 -m guest.on_azure"
systemd-run --quiet --unit=mlbroker-kill --on-active="${{left}}s" --timer-property=AccuracySec=1s \
bash -c "timeout 30 $end; poweroff -f" || \
{{ (sleep "$left"; timeout 30 $end; poweroff -f) </dev/null >/dev/null 2>&1 & }}
umask 022
[ ! -e "$HOME/boot.pyz" ] || exec $end
[ -n "$MLBROKER_GUEST_HOME" ] || ln -s "$0" /var/lib/cloud/scripts/per-boot/mlbroker
id -u mlbroker >/dev/null 2>&1 || useradd --system --home-dir "$HOME" --shell /bin/bash mlbroker
mkdir -p "$HOME" && chown mlbroker: "$HOME" && cd "$HOME" && base64 -d >boot.pyz <<'END'
{program}
END
runuser -u mlbroker -- python3 boot.pyz {arguments}
exec $end
"""


def custom_data(arguments: list[str], kill_at: int, lifetime_s: int) -> str:
    """The script; `arguments` are those of the guest's boot module, the first names the place."""
    check_arguments(arguments)
    script = _SCRIPT.format(
        kill_at=kill_at,
        lifetime=lifetime_s,
        program=boot_program(arguments[0]),
        arguments=" ".join(arguments),
    )
    if len(script.encode()) > _LIMIT_BYTES:
        raise ValueError("the start-up script is larger than Azure takes")
    return script
