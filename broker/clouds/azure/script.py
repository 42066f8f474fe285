"""The script that a machine on Azure starts with, and ends with."""

from mlbroker.broker.clouds.user_data import deleting_user_data

# What Azure takes, before it is wrapped for travelling.
_LIMIT_BYTES = 65535

# cloud-init runs the script once, and what lies in this folder at every boot.
_EVERY_BOOT = (
    '[ -n "$MLBROKER_GUEST_HOME" ] || ln -s "$0" /var/lib/cloud/scripts/per-boot/mlbroker\n'
)


def custom_data(arguments: list[str], kill_at: int, lifetime_s: int) -> str:
    """One that is there at every boot."""
    return deleting_user_data(arguments, kill_at, lifetime_s, _LIMIT_BYTES, _EVERY_BOOT)
