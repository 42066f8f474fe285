"""One window of load: arrivals at a rate, whoever answers how fast, and what became of each."""

import asyncio
import random
from collections import Counter, deque
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Tuple

from .client import SERVED, Answer, Client

# Beyond so many unanswered requests a service is over its capacity, and we near our own.
MOST_WAITING = 4000
TOO_LONG = "no end of the answer"


class Aim(NamedTuple):
    """The request, its bodies in turn, and which of its times must be within the seconds.

    An answer that takes `give_up_s` is given up.
    """

    path: str
    bodies: Tuple[bytes, ...]
    measure: str
    within_s: float
    give_up_s: float


class Request:
    """One request: when it was due and sent, and its answer."""

    def __init__(self, due_s: float, body: Optional[bytes]) -> None:
        self.due_s = due_s
        self.body = body
        self.sent_s = self.ended_s = due_s
        self.answer: Optional[Answer] = None

    def took_s(self, measure: str) -> float:
        """The time that the objective is about; of an answer that was served."""
        answer = self.answer
        assert answer is not None
        if measure == "ttft":
            return answer.first_s - self.due_s
        if measure == "tpot":
            return (answer.last_s - answer.first_s) / max(1, answer.tokens - 1)
        return answer.last_s - self.due_s

    def good(self, aim: Aim) -> bool:
        """Whether it was served in time."""
        served = self.answer is not None and self.answer.kind == SERVED
        return served and self.took_s(aim.measure) <= aim.within_s


class Load:
    """Sends requests to one service."""

    def __init__(self, client: Client, aim: Aim, seed: int = 0) -> None:
        self._client = client
        self._aim = aim
        self._random = random.Random(seed)
        self._clock = asyncio.get_event_loop().time

    async def one(self) -> Request:
        """One request by itself."""
        request = self._request(self._clock())
        await self._send(request)
        return request

    async def window(
        self, rate_rps: float, seconds: float, skip_s: float, most_bad: int
    ) -> Dict[str, Any]:
        """Load it for so long; of those due in the first `skip_s` it is not judged how many were
        in time. It ends early once more than `most_bad` are not served in time.

        Arrivals are those of a Poisson process. `asked` has all that were not cut off by the early
        end: when each was due and when its answer ended, in microseconds of the window, what of the
        answer came behind the moment that the objective is about, and whether it failed whatever
        time it took.
        """
        start_s = self._clock()
        requests: List[Request] = []
        tasks: "set[asyncio.Task[None]]" = set()
        open_: Deque[Request] = deque()
        bad, stopped = 0, False
        due_s = start_s + self._random.expovariate(rate_rps)
        # The first one comes in any case.
        while due_s < start_s + seconds or not requests:
            delay_s = due_s - self._clock()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            request = self._request(due_s)
            requests.append(request)
            open_.append(request)
            task = asyncio.ensure_future(self._send(request))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            while open_ and self._decided(open_[0]):
                bad += not open_.popleft().good(self._aim)
            if bad > most_bad or len(tasks) > MOST_WAITING:
                stopped = True
                break
            due_s += self._random.expovariate(rate_rps)
        ended_s = self._clock()
        if tasks:
            wait_s = self._aim.within_s if stopped else self._aim.give_up_s
            _, late = await asyncio.wait(list(tasks), timeout=wait_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        judged = [request for request in requests if request.due_s >= start_s + skip_s]
        return {
            **self._told(judged or requests),
            "asked": [
                self._asked(request, request.answer, start_s)
                for request in requests
                if request.answer is not None
            ],
            "rate_rps": rate_rps,
            "stopped": stopped,
            "sent_s": ended_s - start_s,
            "took_s": self._clock() - start_s,
        }

    def _asked(self, request: Request, answer: Answer, start_s: float) -> List[int]:
        measure, failed, tail_s = self._aim.measure, answer.kind not in (SERVED, TOO_LONG), 0.0
        if measure == "tpot":
            # How fast its tokens come is no matter of waiting: in time or not, that is drawn.
            failed, tail_s = not request.good(self._aim), request.ended_s - request.due_s
        elif measure == "ttft" and answer.kind == SERVED:
            tail_s = answer.last_s - answer.first_s
        moments = (request.due_s - start_s, request.ended_s - start_s, tail_s)
        return [*(round(1e6 * moment) for moment in moments), int(failed)]

    async def settle(self, limit_s: float) -> bool:
        """Ask until an answer comes in time, so that no window inherits another's queue."""
        end_s = self._clock() + limit_s
        while self._clock() < end_s:
            if (await self.one()).good(self._aim):
                return True
            await asyncio.sleep(0.02)
        return False

    def _request(self, due_s: float) -> Request:
        bodies = self._aim.bodies
        return Request(due_s, self._random.choice(bodies) if bodies else None)

    def _decided(self, request: Request) -> bool:
        if request.answer is not None:
            return True
        overdue = self._clock() - request.due_s > self._aim.within_s
        return overdue and self._aim.measure == "latency"

    async def _send(self, request: Request) -> None:
        request.sent_s = self._clock()
        try:
            request.answer = await asyncio.wait_for(
                self._client.ask(self._aim.path, request.body, self._clock), self._aim.give_up_s
            )
        except asyncio.TimeoutError:
            request.answer = Answer(TOO_LONG)
        request.ended_s = self._clock()

    def _told(self, judged: List[Request]) -> Dict[str, Any]:
        kinds = Counter(TOO_LONG if r.answer is None else r.answer.kind for r in judged)
        served = [r for r in judged if r.answer is not None and r.answer.kind == SERVED]
        times = sorted(request.took_s(self._aim.measure) for request in served)
        lags = sorted(request.sent_s - request.due_s for request in judged)
        tokens = sum(r.answer.tokens for r in served if r.answer is not None)
        return {
            "judged": len(judged),
            "good": sum(request.good(self._aim) for request in judged),
            "kinds": dict(kinds),
            "p50_s": times[len(times) // 2] if times else None,
            "p95_s": times[int(0.95 * len(times))] if times else None,
            "lag_p95_s": lags[int(0.95 * len(lags))],
            "tokens": tokens / len(served) if served and tokens else None,
        }
