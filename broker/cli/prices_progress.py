"""How a refresh of the prices looks at the terminal: a bar while it runs, a line a cloud after."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from mlbroker.broker.errors import CloudError
from mlbroker.broker.output import print_json, say, warn
from mlbroker.broker.prices.feeds.interface import Plan
from mlbroker.broker.prices.refresh import Progress, Report

if TYPE_CHECKING:
    from rich.progress import TaskID


class Bar(Progress):
    """A bar on a terminal's stderr; elsewhere one line a cloud."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress as RichProgress

        self._live = sys.stderr.isatty()
        self._rich = RichProgress(
            console=Console(stderr=True), transient=True, disable=not self._live
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bar":
        self._rich.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._rich.stop()

    def start(self, cloud: str, plan: Plan) -> None:
        """A cloud's tasks are known."""
        for note in plan.notes:
            say(f"{cloud}: {note}")
        if not self._live:
            say(f"{cloud}: fetching {len(plan.tasks)} parts")
        self._tasks[cloud] = self._rich.add_task(cloud, total=len(plan.tasks) + 1)

    def done(self, cloud: str, what: str) -> None:
        """One task has ended well."""
        self._rich.update(self._tasks[cloud], advance=1, description=f"{cloud} {what}")

    def building(self, cloud: str) -> None:
        """All answers are in; the local index is made."""
        self._rich.update(self._tasks[cloud], description=f"{cloud} local index")


def report(result: Report, snapshot: str, as_json: bool) -> None:
    """What came of it; ends with exit code 1 when a cloud could not be refreshed."""
    if as_json:
        print_json(
            {
                "schema": "mlbroker.prices.refresh/1",
                "snapshot": snapshot,
                "refreshed": [
                    {
                        "cloud": outcome.cloud,
                        "prices": outcome.prices,
                        "withdrawn": outcome.withdrawn,
                        "without_honest_price": outcome.dishonest,
                        "jumped": outcome.jumped,
                    }
                    for outcome in result.outcomes
                ],
                "failed": {cloud: str(error) for cloud, error in result.failures.items()},
            }
        )
    for outcome in result.outcomes:
        say(
            f"{outcome.cloud}: {outcome.prices:,} prices fetched,"
            f" {outcome.withdrawn:,} no longer sold"
        )
        if outcome.dishonest:
            warn(f"{outcome.cloud}: {outcome.dishonest:,} rows without an honest price left out")
        if outcome.jumped:
            warn(
                f"{outcome.cloud}: {outcome.jumped:,} prices jumped and are not believed;"
                " `mlbroker prices verify` lists them"
            )
    if not result.failures:
        return
    reasons = "\n".join(str(error) for error in result.failures.values())
    raise CloudError(f"{reasons}\n  The old prices of {', '.join(result.failures)} are untouched.")
