"""The script that a machine on Google Cloud starts with, and ends with."""

from mlbroker.broker.clouds.user_data import boot_program, check_arguments

# The vendor's own timer goes first: a machine that shut itself down is out of that one's reach.
LATER_S = 60
_LIMIT_BYTES = 262144

# A machine that merely shuts down keeps its disk, which bills. So it deletes itself, as the
# unprivileged user, and only when nothing else helped does it shut down. A second boot is the end
# too: what the job was doing is lost.
_SCRIPT = """\
#!/bin/bash
left=$(({late_at} - $(date +%s))); ((left < {longest})) || left={longest}; ((left > 0)) || left=1
export HOME="${{MLBROKER_GUEST_HOME:-/var/lib/mlbroker}}"
end="runuser -u mlbroker -- env PYTHONPATH=$HOME/boot.pyz python3 -m guest.on_gcp"
systemd-run --quiet --unit=mlbroker-kill --on-active="${{left}}s" --timer-property=AccuracySec=1s \
bash -c "timeout 30 $end; poweroff -f" || \
{{ (sleep "$left"; timeout 30 $end; poweroff -f) </dev/null >/dev/null 2>&1 & }}
umask 022
[ ! -e "$HOME/boot.pyz" ] || exec $end
id -u mlbroker >/dev/null 2>&1 || useradd --system --home-dir "$HOME" --shell /bin/bash mlbroker
mkdir -p "$HOME" && chown mlbroker: "$HOME" && cd "$HOME" && base64 -d >boot.pyz <<'END'
{program}
END
runuser -u mlbroker -- python3 boot.pyz {arguments}
exec $end
"""


def startup_script(arguments: list[str], kill_at: int, lifetime_s: int) -> str:
    """The script; `arguments` are those of the guest's boot module, the first names the place."""
    check_arguments(arguments)
    script = _SCRIPT.format(
        late_at=kill_at + LATER_S,
        longest=lifetime_s + LATER_S,
        program=boot_program(arguments[0]),
        arguments=" ".join(arguments),
    )
    if len(script.encode()) > _LIMIT_BYTES:
        raise ValueError("the start-up script is larger than Google Cloud takes")
    return script
