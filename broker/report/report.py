"""What a report is made of, in whichever form it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.broker.report.entries import Entry
from mlbroker.broker.report.own_machines import NodeUse
from mlbroker.broker.report.tally import Calibration, Tally
from mlbroker.policies.spend_forecast import Spread

if TYPE_CHECKING:
    from mlbroker.policies.alerts import CapState


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """On which runs, broken down `by` what. The period is from `since` on and before `until`."""

    since: datetime
    until: datetime
    by: str = "project"
    user: str | None = None
    project: str | None = None
    job: str | None = None
    nodes: Path | None = None

    def admits(self, entry: Entry) -> bool:
        """Whether a run of the period is wanted."""
        return (
            self.user in (None, entry.user)
            and self.project in (None, entry.project)
            and self.job in (None, entry.job)
        )


class Day(NamedTuple):
    """What the runs of a day came to."""

    day: date
    usd: Decimal


@dataclass(frozen=True)
class Report:
    """All that a report shows, in whichever form.

    `forecast` is of the month of `now`, None where that is not in the period, or nobody can tell;
    `caps` and `open_runs` are of everybody.
    """

    query: ReportQuery
    now: datetime
    runs: Sequence[Entry]
    total: Tally
    groups: dict[str, Tally]
    days: Sequence[Day]
    times: Calibration
    costs: Calibration
    nodes: Sequence[NodeUse]
    forecast: Spread | None
    caps: "Sequence[CapState]"
    open_runs: Sequence[Entry]

    @cached_property
    def partial(self) -> bool:
        """Whether the period is not over."""
        return self.query.until > self.now
