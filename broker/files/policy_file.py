"""Reads `mlbroker-policy.yaml`, as strictly as a job file: a misspelt cap would be no cap.

The keys are those of the rules, which read their own values (see `policies.guardrails`), and those
that are no rule:

    teams: {vision: {users: [ada, bob], share: 60%, max_spend_per_month: 500 USD}, ops: [eve]}
    alerts: {at: [50, 80], forecast: true, idle: 30m}
    queue: {policy: auto}
    ledger: postgresql://db.example.com/mlbroker
"""

import re
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import (
    parse_count,
    parse_duration_s,
    parse_flag,
    parse_money_usd,
    parse_number,
)
from mlbroker.broker.files.yaml_fields import Fields, nearest_hint
from mlbroker.broker.files.yaml_strict import quoted, read_text
from mlbroker.broker.home import POSTGRES
from mlbroker.policies.guardrails import RULES
from mlbroker.policies.guardrails.alert_terms import AlertTerms
from mlbroker.policies.guardrails.judge import Policy
from mlbroker.policies.guardrails.teams import TEAMS, read_teams

ALERTS, QUEUE, LEDGER = "alerts", "queue", "ledger"
KEYS = (
    *(key for name, rule in RULES.items() for key in (name, *rule.companions)),
    TEAMS,
    ALERTS,
    QUEUE,
    LEDGER,
)


def load_policy(path: Path) -> Policy:
    """The policy of this file."""
    return parse_policy(read_text(path), str(path))


def parse_policy(text: str, source: str) -> Policy:
    """The policy of a text, which came from `source`."""
    section = PolicySection.document(text, source, KEYS, "max_spend_per_run: 25 USD")
    rules = {key: rule.read(section, key) for key, rule in RULES.items()}
    asked = {key: rule for key, rule in rules.items() if rule is not None}
    teams = read_teams(section)
    return Policy(
        source,
        asked,
        {name: team.users for name, team in teams.items()},
        _alerts(section),
        {name: team.share for name, team in teams.items() if team.share is not None},
        _queue(section),
        section.value(LEDGER, _ledger),
    )


def _queue(file: "PolicySection") -> str | None:
    """The queue's policy, by its name."""
    section = file.section(QUEUE)
    if section is None:
        return None
    section.refuse_unknown(("policy",))
    return section.value("policy", _queue_policy)


def _queue_policy(text: str) -> str:
    from mlbroker.policies.queue import POLICIES  # few files say anything of the queue

    if text not in POLICIES:
        hint = nearest_hint(text, POLICIES)
        raise InputError(f"there is no queue policy {quoted(text)}", hint=hint)
    return text


def _ledger(text: str) -> str:
    """The address of a team's database. A wrong one is not repeated: it may hold a password."""
    example = "postgresql://USER@HOST/DATABASE, the password in ~/.pgpass"
    try:
        parts = urlsplit(text)
        secret = parts.password is not None or re.search(
            r"(?i)\b(ssl)?password=", unquote(parts.query)
        )
    except ValueError:
        parts, secret = None, None
    if parts is None or f"{parts.scheme}://" not in POSTGRES or not text.isprintable():
        raise InputError("is no PostgreSQL URL", hint=f"write {example}")
    if secret:
        raise InputError("a password does not belong into this file", hint=f"write {example}")
    return text


def _alerts(file: "PolicySection") -> AlertTerms:
    section = file.section(ALERTS)
    if section is None:
        return AlertTerms()
    section.refuse_unknown(("at", "forecast", "idle"))
    usual = AlertTerms()
    at, forecast = section.names("at"), section.value("forecast", section.flag)
    idle_s = section.value("idle", parse_duration_s)
    percents = tuple(section.percent("at", text) for text in at)
    return AlertTerms(
        percents or usual.at_percent,
        usual.forecast if forecast is None else forecast,
        usual.idle_s if idle_s is None else idle_s,
    )


class PolicySection(Fields):
    """A mapping of the policy file, as rules read it."""

    money_usd = staticmethod(parse_money_usd)
    count = staticmethod(parse_count)
    flag = staticmethod(parse_flag)

    @staticmethod
    def share(text: str) -> float:
        """A share of a whole, as `60%` or `0.6`."""
        number = text.strip().removesuffix("%")
        share = float(parse_number(number)) / (100 if number != text.strip() else 1)
        if share > 1:
            raise InputError(f"{quoted(text)} is more than the whole", hint="write 60% or 0.6")
        return share

    @staticmethod
    def carbon_kg(text: str) -> Decimal:
        """Kilograms of `5 kg`, `500 g` or `1.2 t CO2e`."""
        found = re.fullmatch(r"(.+?)\s*(kg|g|t)(?:\s*CO2e?)?", text.strip())
        if found is None:
            raise InputError(f"{quoted(text)} is not an amount of carbon", hint="write 5 kg")
        grams = {"g": 1, "kg": 1000, "t": 1_000_000}
        return parse_number(found[1]) * grams[found[2]] / 1000

    def percent(self, key: str, text: str) -> int:
        """A whole per cent of a list, as `80` or `80%`."""
        found = re.fullmatch(r"(\d{1,3})\s*%?", text.strip())
        if found is None or int(found[1]) == 0:
            self.fail(key, f"{quoted(text)} is no per cent of a cap", "write [50, 80, 100]")
        return int(found[1])

    def is_mapping(self, key: str) -> bool:
        """Whether keys are written under this one."""
        node = self.node(key)
        return node is not None and node.fields is not None

    def names(self, key: str) -> tuple[str, ...]:
        """A list of names, or a single one."""
        node = self.node(key)
        if node is None:
            return ()
        if node.text is not None:
            return (node.text,)
        if node.items is None:
            self.fail(key, f"must be a list, not {node.kind}", f"{key}: [one, another]")
        names = tuple(item.text for item in node.items if item.text is not None)
        if len(names) != len(node.items):
            self.fail(key, "must be a list of names")
        return names
