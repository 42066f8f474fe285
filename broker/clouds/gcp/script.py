"""The script that a machine on Google Cloud starts with, and ends with."""

from mlbroker.broker.clouds.user_data import deleting_user_data

# The vendor's own timer goes first: a machine that shut itself down is out of that one's reach.
LATER_S = 60
_LIMIT_BYTES = 262144


def startup_script(arguments: list[str], kill_at: int, lifetime_s: int) -> str:
    """Google runs it at every boot."""
    return deleting_user_data(arguments, kill_at + LATER_S, lifetime_s + LATER_S, _LIMIT_BYTES)
