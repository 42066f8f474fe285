"""Alerts of a budget's owner: found in ledger and machines, told to a webhook once each."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.guest import box as files
from mlbroker.broker.home import private_folder
from mlbroker.broker.report.entries import Entry

if TYPE_CHECKING:
    from mlbroker.policies.alerts import Alert, CapState
    from mlbroker.policies.guardrails.judge import Policy

URL = "MLBROKER_ALERT_URL"
SLACK = "slack"
_TOLD = "alerts.json"
# What was told is remembered of so many: a month's matters, many times over.
_MOST_TOLD = 2000


def alerts_of(
    caps: "Sequence[CapState]",
    open_runs: Sequence[Entry],
    idle_s: Mapping[str, float],
    policy: "Policy | None",
    now: datetime,
) -> "list[Alert]":
    """What there is to hear of; `idle_s` is of the runs whose machines were asked."""
    from mlbroker.policies.alerts import OpenRun, alerts
    from mlbroker.policies.guardrails.alert_terms import AlertTerms

    terms = policy.alerts if policy is not None else AlertTerms()
    runs = [OpenRun(e.run_id, e.job, e.kill_at, idle_s.get(e.run_id)) for e in open_runs]
    return alerts(terms, caps, runs, now)


def alerts_now(
    policy: "Policy | None", idle_s: Mapping[str, float], state: Path, now: datetime
) -> "list[Alert]":
    """The same by the ledger alone, as it stands."""
    from mlbroker.broker.app.report import caps_of, known_runs

    known = known_runs(state, now)
    open_runs = [entry for entry in known if entry.open]
    return alerts_of(caps_of(policy, known, now), open_runs, idle_s, policy, now)


def live_runs(state: Path, now: datetime) -> list[dict[str, Any]]:
    """The open runs as `ps` shows them; a machine that does not answer says so in its phase."""
    from mlbroker.broker.clouds import opener
    from mlbroker.broker.ledger import open_ledger
    from mlbroker.broker.runs.summary import live_summary

    opened = opener(state)
    return [live_summary(run, opened, state, now) for run in open_ledger(state).open_runs()]


def idle_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds without work by run, of those whose machines tell."""
    return {row["run_id"]: row["idle_s"] for row in rows if row["idle_s"] is not None}


def notify(alerts: "Sequence[Alert]", form: str, state: Path, listener: Listener) -> None:
    """Post those that were not posted before to the URL of MLBROKER_ALERT_URL.

    InputError without one. A webhook that does not answer is a warning: it is told next time.
    """
    from mlbroker.broker.http import Http

    url = os.environ.get(URL, "")
    if not url.startswith(("https://", "http://")):
        raise InputError(f"{URL} holds no address to post to", hint=f"export {URL}=https://…")
    known = _told(state)
    new = [alert for alert in alerts if alert.key not in known]
    if not new:
        return
    body = json.dumps(payload(new, form)).encode()
    headers = {"Content-Type": "application/json"}
    try:
        Http().send("POST", url, headers, lambda answer, _: answer.read(1000), body)
    except MlbrokerError as error:
        # The address may hold a secret: what went wrong is told, and not where.
        listener.warn(f"the alerts were not posted: {error.what}")
        return
    _remember(state, [*known, *(alert.key for alert in new)])
    listener.note(f"Posted {len(new)} of {len(alerts)} alerts.")


def payload(alerts: "Sequence[Alert]", form: str) -> dict[str, Any]:
    """As Slack's incoming webhooks take it, or as plain JSON."""
    if form == SLACK:
        # What Slack would read as markup is written as its documentation says.
        lines = [_plain(alert.text) for alert in alerts]
        return {"text": "\n".join(["mlbroker:", *(f"• {line}" for line in lines)])}
    listed = [{"kind": a.kind, "key": a.key, "text": a.text} for a in alerts]
    return {"schema": "mlbroker.alerts/1", "alerts": listed}


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _told(state: Path) -> list[str]:
    try:
        known = json.loads((state / _TOLD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [key for key in known if isinstance(key, str)] if isinstance(known, list) else []


def _remember(state: Path, keys: Sequence[str]) -> None:
    private_folder(str(state))
    files.write(str(state), _TOLD, json.dumps(list(keys)[-_MOST_TOLD:]), durable=False)
