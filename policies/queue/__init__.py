"""Many jobs, few places: who starts, who yields, who goes to the cloud, and why.

A new policy is one file with a class and one entry here.
"""

from collections.abc import Callable

from mlbroker.policies.queue.auto import Auto
from mlbroker.policies.queue.easy import Easy
from mlbroker.policies.queue.fifo import Fifo
from mlbroker.policies.queue.interface import Policy
from mlbroker.policies.queue.las import LeastAttained
from mlbroker.policies.queue.multifactor import MultifactorEasy
from mlbroker.policies.queue.spf import ShortestPredictedFirst
from mlbroker.policies.queue.srpt import ShortestRemaining
from mlbroker.policies.queue.starburst import Starburst

POLICIES: dict[str, Callable[[], Policy]] = {
    "auto": Auto,
    "fifo": Fifo,
    "easy": Easy,
    "multifactor-easy": MultifactorEasy,
    "spf": ShortestPredictedFirst,
    "las-2d": LeastAttained,
    "srpt": ShortestRemaining,
    "starburst": Starburst,
}
