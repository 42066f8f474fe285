"""The one way to a decision: the picture of the whole product on one page."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.decision import decide
from mlbroker.policies.planner.plan import Choice, Plan, PlanRequest

if TYPE_CHECKING:
    from mlbroker.policies.planner.many import ManyPlanner


class Planner:
    """Plans jobs on one book, as if all at one moment."""

    def __init__(self, book: Book, now: datetime) -> None:
        self.book = book
        self.now = now
        self._many: ManyPlanner | None = None

    def plan(self, request: PlanRequest) -> Plan:
        """The best machines for one job, and why not the rest."""
        return decide(self.book, self.now, request)

    def many(self, requests: Iterable[PlanRequest]) -> Iterator[Choice]:
        """For each job the choice that `plan` makes; where that is nothing, a plan that tells why.

        What equal questions have in common is answered once, in this call and in the next.
        """
        if self._many is None:
            from mlbroker.policies.planner.many import ManyPlanner

            self._many = ManyPlanner(self.book, self.now)
        return map(self._many.choose, requests)
