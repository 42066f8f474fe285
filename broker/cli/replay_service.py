"""How a replay of a service is shown."""

from typing import Any

from mlbroker.broker.output import print_table, say


def show_service(told: dict[str, Any]) -> None:
    """A line a policy, and what nobody can pass."""
    say(
        f"{told['requests']:,.0f} requests in {told['hours']:,.4g} h, {told['capacity_rps']:g} a"
        f" second on a replica at {told['price_per_hour_usd']:g} USD an hour,"
        f" under {told['cap_usd']:,.2f} USD."
    )
    right = ("USD", "of the cap", "in time", "turned away", "dark h")
    lines = [
        [
            name,
            f"{row['spend_usd']:,.2f}",
            f"{row['spend_over_cap']:.1%}",
            f"{row['served_in_time']:.1%}",
            f"{row['shed']:.1%}",
            f"{row['dark_hours']:,.1f}",
        ]
        for name, row in told["summary"].items()
    ]
    print_table(["policy", *right], lines, right=right)
    say(f"Who knew the trace could serve {told['bound']['served_in_time']:.1%} in time for it.")
