"""What the user's policy file forbids: one file a rule, one judge for plan, check and launch.

interface      the machine and the run as rules look at them, and what a rule is
machines caps  what several rules share: patterns of machines, amounts by user and project
judge          the one place where rules are asked
"""

from mlbroker.policies.guardrails.allow import Allow
from mlbroker.policies.guardrails.approve_above import ApproveAbove
from mlbroker.policies.guardrails.deny import Deny
from mlbroker.policies.guardrails.gpu_needs_reason import GpuNeedsReason
from mlbroker.policies.guardrails.interface import Rule
from mlbroker.policies.guardrails.max_carbon_per_run import MaxCarbonPerRun
from mlbroker.policies.guardrails.max_nodes import MaxNodes
from mlbroker.policies.guardrails.max_price_per_hour import MaxPricePerHour
from mlbroker.policies.guardrails.max_spend_per_period import MaxSpendPerPeriod
from mlbroker.policies.guardrails.max_spend_per_run import MaxSpendPerRun

# Key in the policy file -> its rule. In this order they are asked; the first that forbids is told.
RULES: dict[str, type[Rule]] = {
    "deny": Deny,
    "allow": Allow,
    "max_nodes": MaxNodes,
    "max_price_per_hour": MaxPricePerHour,
    "max_carbon_per_run": MaxCarbonPerRun,
    "max_spend_per_run": MaxSpendPerRun,
    "gpu_needs_reason": GpuNeedsReason,
    "max_spend_per_day": MaxSpendPerPeriod,
    "max_spend_per_month": MaxSpendPerPeriod,
    "approve_above": ApproveAbove,
}
