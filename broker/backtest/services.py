"""A trace of requests under each policy for a service's ceiling, and what that comes to."""

from collections.abc import Sequence
from typing import Any

from mlbroker.policies.service import POLICIES
from mlbroker.policies.service.bound import most_served
from mlbroker.policies.service.interface import HOUR_MS, Terms, usd
from mlbroker.policies.service.replay import Engine, Played, Row, play

Document = dict[str, Any]


def compare(rows: Sequence[Row], engine: Engine, terms: Terms, policies: Sequence[str]) -> Document:
    """`summary` by policy, and the `bound`. Shares are of all requests of the trace."""
    requests = sum(row.requests for row in rows)
    return {
        "summary": {
            name: _figures(play(rows, engine, terms, POLICIES[name](terms)), terms)
            for name in policies
        },
        "bound": {"served_in_time": _rounded(most_served(rows, engine, terms) / requests)},
    }


def _figures(played: Played, terms: Terms) -> Document:
    served = played.served / played.requests
    over = sum(max(spent - terms.cap, 0) for spent in played.spent.values())
    return {
        "spend_usd": float(usd(played.all_spent)),
        "spend_over_cap": max(played.spent.values()) / terms.cap,
        "overspend_usd": float(usd(over)),
        "served_in_time": _rounded(served),
        "shed": _rounded(max(1 - served, 0.0)),
        "dark_hours": _rounded(played.dark_ms / HOUR_MS),
    }


def _rounded(number: float) -> float:
    return round(number, 6)
