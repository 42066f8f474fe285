"""Many trials under one cap: how far each goes, what is tried next, when it is enough.

A new policy is one file with a class and one entry here.
"""

from collections.abc import Callable

from mlbroker.policies.tuning.asha_stop import AshaStop
from mlbroker.policies.tuning.auto import Auto
from mlbroker.policies.tuning.interface import Policy
from mlbroker.policies.tuning.random_full import RandomFull
from mlbroker.policies.tuning.sha_pause import ShaPause

POLICIES: dict[str, Callable[[], Policy]] = {
    "auto": Auto,
    "random-full": RandomFull,
    "asha-stop": AshaStop,
    "sha-pause": ShaPause,
}
