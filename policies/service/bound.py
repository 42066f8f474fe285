"""The most that anybody could have served in time for the cap who knew the trace: an LP."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mlbroker.policies.service.interface import UNBOUNDED, Terms
from mlbroker.policies.service.replay import Engine, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows are put together to so many slots at most, which can only raise the bound.
MOST_SLOTS = 2_500
Array: TypeAlias = "NDArray[Any]"
Bounds = tuple[float, float | None]


def most_served(rows: Sequence[Row], engine: Engine, terms: Terms) -> float:
    """Requests in time at best.

    By slot t of d seconds: r replicas that serve (on average), u starts, z requests worked off,
    and q that are worked off in the beginning of the next slot, at most `queue_s` into it.
    Replicas are not whole, and a start is paid for once where its replica serves in parts of two
    slots. HiGHS maximises the sum of z, and the last q, with

        z <= mu d r        z_t - q_(t-1) + q_t <= requests      q_(t-1) <= z_t, mu w r_t
        r_t - r_(t-1) <= u_t + u_(t-1)        least <= r <= most
        price * sum(d r + boot u) <= cap, of each period

    With several periods starts are free: whose they are is not asked.
    """
    import numpy as np

    slots = _slots(rows)
    count = len(slots)
    span_s = np.array([slot.span_ms for slot in slots]) / 1000
    requests = np.array([slot.requests for slot in slots])
    mu, wait_s = engine.capacity_rps, engine.queue_s
    system = _System(count)
    r, u, z, q = (np.arange(count) + part * count for part in range(4))
    after = slice(1, None)
    before = slice(None, -1)
    system.add([(z, 1.0), (r, -mu * span_s)], np.zeros(count))
    system.add([(z[:1], 1.0), (q[:1], 1.0)], requests[:1])
    system.add([(z[after], 1.0), (q[before], -1.0), (q[after], 1.0)], requests[after])
    system.add([(q[before], 1.0), (z[after], -1.0)], np.zeros(count - 1))
    system.add([(q[before], 1.0), (r[after], -mu * wait_s)], np.zeros(count - 1))
    system.add([(q[-1:], 1.0), (r[-1:], -mu * wait_s)], np.zeros(1))
    system.add(
        [(r[after], 1.0), (r[before], -1.0), (u[after], -1.0), (u[before], -1.0)],
        np.zeros(count - 1),
    )
    periods = [terms.period_of(slot.start_ms) for slot in slots]
    boot_s = engine.boot_ms / 1000 if len(set(periods)) == 1 else 0.0
    for period in dict.fromkeys(periods):
        mine = np.array([each == period for each in periods])
        # A hair more: the fewest replicas must fit into a cap that is just enough for them.
        seconds = terms.cap / terms.nano_usd_per_h / 1000 * (1 + 1e-9)
        system.add_sum([(r[mine], span_s[mine]), (u[mine], boot_s)], seconds)
    worth = np.zeros(4 * count)
    worth[z], worth[q[-1]] = 1.0, 1.0
    most = None if terms.most >= UNBOUNDED else float(terms.most)
    bounds: list[Bounds] = [(float(terms.least), most)] * count + [(0.0, None)] * (3 * count)
    return min(system.solve(worth, bounds), float(requests.sum()))


class _System:
    """Inequalities, gathered a block at a time: weights on columns, at most so much."""

    def __init__(self, count: int) -> None:
        self._width = 4 * count
        self._height = 0
        self._entries: list[tuple[Array, Array, Array]] = []
        self._most: list[Array] = []

    def add(self, terms: "Sequence[tuple[Array, float | Array]]", most: Array) -> None:
        """One inequality for each place of the columns."""
        import numpy as np

        rows = np.arange(len(most)) + self._height
        self._entries += [
            (rows, columns, np.broadcast_to(weight, len(rows))) for columns, weight in terms
        ]
        self._most.append(most)
        self._height += len(most)

    def add_sum(self, terms: "Sequence[tuple[Array, float | Array]]", most: float) -> None:
        """One inequality over all places."""
        import numpy as np

        for columns, weight in terms:
            rows = np.full(len(columns), self._height)
            self._entries.append((rows, columns, np.broadcast_to(weight, len(columns))))
        self._most.append(np.array([most]))
        self._height += 1

    def solve(self, worth: Array, bounds: Sequence[Bounds]) -> float:
        """The most that it is worth."""
        import numpy as np
        from scipy.optimize import linprog
        from scipy.sparse import coo_array

        rows, columns, weights = (
            np.concatenate([each[part] for each in self._entries]) for part in range(3)
        )
        matrix = coo_array((weights, (rows, columns)), shape=(self._height, self._width)).tocsr()
        found = linprog(
            -worth, A_ub=matrix, b_ub=np.concatenate(self._most), bounds=bounds, method="highs"
        )
        if found.status != 0:
            raise ArithmeticError(f"the bound could not be worked out: {found.message}")
        return float(-found.fun)


def _slots(rows: Sequence[Row]) -> list[Row]:
    """Neighbours put together where there are too many."""
    size = -(-len(rows) // MOST_SLOTS)
    parts = (rows[at : at + size] for at in range(0, len(rows), size))
    return [
        Row(part[0].start_ms, sum(row.span_ms for row in part), sum(row.requests for row in part))
        for part in parts
    ]
