"""A service's replicas under a budget: how many there may be at most, from one look to the next.

interface, periods    what is seen and answered, in exact money; months and days
ceiling, usual, surge the shell and the level; what is usual, and what is a surge
replay, bound         a trace played under a policy, and the most that anybody could serve
fleet, mix, demand    which machines serve it for the least; mixed_replay plays them, over arrays
A new policy is one file with a class and one entry here.
"""

from collections.abc import Callable

from mlbroker.policies.service.auto import Auto
from mlbroker.policies.service.fixed_max import FixedMax
from mlbroker.policies.service.interface import Policy, Terms
from mlbroker.policies.service.none import NoCap
from mlbroker.policies.service.until_broke import UntilBroke
from mlbroker.policies.service.vendor_budget import VendorBudget

POLICIES: dict[str, Callable[[Terms], Policy]] = {
    "auto": Auto,
    "none": NoCap,
    "vendor-budget": VendorBudget,
    "until-broke": UntilBroke,
    "fixed-max": FixedMax,
}
