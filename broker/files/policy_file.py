"""Reads `mlbroker-policy.yaml`, as strictly as a job file: a misspelt cap would be no cap.

max_spend_per_run: 25 USD
max_spend_per_day: {total: 100 USD, per_user: 40 USD, users: {ada: 80 USD}}
max_spend_per_month: {per_project: 500 USD, projects: {search: 2000 USD}}
max_price_per_hour: 12 USD
max_carbon_per_run: 5 kg
allow: {clouds: [aws, local], regions: ["eu-*"], families: [m7g, g6], markets: [spot]}
deny: {instance_types: ["*.metal"]}
gpu_needs_reason: true
approve_above: 50 USD
approvers: [grace]
"""

import re
from decimal import Decimal
from pathlib import Path

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import parse_flag, parse_money_usd, parse_number
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import parse, quoted, read_text
from mlbroker.broker.home import POLICY_NAME, policy_path
from mlbroker.policies.guardrails import Limit, Match, Policy

NAME = POLICY_NAME
KEYS = (
    "max_spend_per_run",
    "max_spend_per_day",
    "max_spend_per_month",
    "max_price_per_hour",
    "max_carbon_per_run",
    "allow",
    "deny",
    "gpu_needs_reason",
    "approve_above",
    "approvers",
)
_LIMIT_KEYS = ("total", "per_user", "per_project", "users", "projects")
_MATCH_KEYS = ("clouds", "regions", "families", "instance_types", "markets")


def find_policy(job_path: Path, option: Path | None = None) -> Policy | None:
    """The policy of `--policy`, else of the nearest file upward from the job; None without one."""
    path = policy_path(job_path, option)
    return None if path is None else load_policy(path)


def load_policy(path: Path) -> Policy:
    """The policy of this file."""
    return parse_policy(read_text(path), str(path))


def parse_policy(text: str, source: str) -> Policy:
    """The policy of a text, which came from `source`."""
    documents = parse(text, source)
    if len(documents) != 1:
        raise InputError("must hold one document", where=source, hint=f"{KEYS[0]}: 25 USD")
    fields = Fields(documents[0], "", source)
    fields.refuse_unknown(KEYS)
    return Policy(
        source=source,
        max_spend_per_run=_limit(fields, "max_spend_per_run"),
        max_spend_per_day=_limit(fields, "max_spend_per_day"),
        max_spend_per_month=_limit(fields, "max_spend_per_month"),
        max_price_per_hour_usd=fields.value("max_price_per_hour", _hourly),
        max_carbon_per_run_kg=fields.value("max_carbon_per_run", _kilograms),
        approve_above_usd=fields.value("approve_above", parse_money_usd),
        approvers=_names(fields, "approvers"),
        gpu_needs_reason=fields.value("gpu_needs_reason", parse_flag) or False,
        allow=_match(fields, "allow"),
        deny=_match(fields, "deny"),
    )


def _limit(fields: Fields, key: str) -> Limit | None:
    node = fields.node(key)
    if node is None:
        return None
    if node.fields is None:
        return Limit(total=fields.value(key, parse_money_usd))
    section = Fields(node, fields.name_of(key), fields.source)
    section.refuse_unknown(_LIMIT_KEYS)
    return Limit(
        total=section.value("total", parse_money_usd),
        per_user=section.value("per_user", parse_money_usd),
        per_project=section.value("per_project", parse_money_usd),
        users=_named(section, "users"),
        projects=_named(section, "projects"),
    )


def _named(fields: Fields, key: str) -> dict[str, Decimal]:
    section = fields.section(key)
    if section is None:
        return {}
    amounts = {name: section.value(name, parse_money_usd) for name in section}
    return {name: amount for name, amount in amounts.items() if amount is not None}


def _match(fields: Fields, key: str) -> Match | None:
    section = fields.section(key)
    if section is None:
        return None
    section.refuse_unknown(_MATCH_KEYS)
    lists = {name: _names(section, name) for name in _MATCH_KEYS}
    if not any(lists.values()):
        fields.fail(key, "lists nothing", f"{key}: {{clouds: [aws]}}")
    return Match(**lists)


def _names(fields: Fields, key: str) -> tuple[str, ...]:
    node = fields.node(key)
    if node is None:
        return ()
    if node.text is not None:
        return (node.text,)
    if node.items is None:
        fields.fail(key, f"must be a list, not {node.kind}", f"{key}: [one, another]")
    names = tuple(item.text for item in node.items if item.text is not None)
    if len(names) != len(node.items):
        fields.fail(key, "must be a list of names")
    return names


def _hourly(text: str) -> Decimal:
    return parse_money_usd(re.sub(r"\s*(/|per )\s*(h|hour)$", "", text.strip()))


def _kilograms(text: str) -> float:
    found = re.fullmatch(r"(.+?)\s*(kg|g|t)(?:\s*CO2e?)?", text.strip())
    if found is None:
        raise InputError(f"{quoted(text)} is not an amount of carbon", hint="write 5 kg")
    return float(parse_number(found[1])) * {"g": 0.001, "kg": 1.0, "t": 1000.0}[found[2]]
