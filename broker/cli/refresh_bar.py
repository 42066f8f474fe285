"""How a refresh of the prices looks at the terminal while it runs."""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from mlbroker.broker.output import say
from mlbroker.broker.prices.feeds.interface import FetchPlan
from mlbroker.broker.prices.refresh import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID


class RefreshBar(ExitStack, Progress):
    """A bar on a terminal's stderr; elsewhere one line a cloud."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress as RichProgress

        super().__init__()
        self._live = sys.stderr.isatty()
        self._rich = RichProgress(
            console=Console(stderr=True), transient=True, disable=not self._live
        )
        self.enter_context(self._rich)
        self._tasks: dict[str, TaskID] = {}

    def start(self, cloud: str, plan: FetchPlan) -> None:
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
