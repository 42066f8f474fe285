"""The vendors' APIs, their answers made hostile on the way: garbage, other types, other statuses.

A vendor is believed in what it says of its machines; but what cannot be understood is neither a
yes nor a no, and ends no client without a word.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.support.campaign import FULL, figures, seeds, try_each
from tests.support.loopback_http import Answer
from tests.support.mutations import HTML, hostile_answer
from tests.support.strict import StrictCloud
from tests.support.vendors import VENDORS, Vendor, vendor_named

from mlbroker.broker.clouds.understood import understood
from mlbroker.broker.errors import MlbrokerError

STATUSES = (
    "200 OK", "202 Accepted", "204 No Content", "301 Moved Permanently", "400 Bad Request",
    "403 Forbidden", "404 Not Found", "409 Conflict", "429 Too Many Requests", "500 Oops",
    "503 Service Unavailable",
)  # fmt: skip
_COUNT = itertools.count()


@pytest.fixture(scope="module", params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return vendor_named(request.param)


def test_answers_that_cannot_be_understood(
    vendor: Vendor, server: StrictCloud, calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lies = Lies(server.answer)
    monkeypatch.setattr(server, "answer", lies)
    outcomes: Counter[str] = Counter()

    def one(seed: int) -> None:
        chance = Random(seed)
        server.calm()
        runs = vendor.runs(
            tmp_path / str(seed), server, understood(vendor.cloud(calls), vendor.name)
        )
        run_id = f"v{next(_COUNT)}"
        server.guest.job_s = chance.choice((20.0, 300.0, None))  # type: ignore[attr-defined]
        runs.reserve(run_id, vendor.small_cap)
        lies.begin(chance)
        try:
            runs.driver(run_id, {}).drive(run_id)
        except MlbrokerError:
            outcomes["given up"] += 1
        finally:
            lies.rate = lies.in_buckets = 0.0
        runs.wind_up()
        server.clock.advance(7200)
        runs.check(run_id, cap=vendor.small_cap)
        settled = runs.ledger.run(run_id)
        assert settled is not None
        outcomes[str(settled.outcome)] += 1

    with figures(f"lying-{vendor.name}") as kept:
        count = try_each(seeds(3, 150), one)
        kept |= {"runs": count, "answers": lies.told, "outcomes": dict(outcomes)}
        kept |= {"wedged": 0, "over cap": 0, "leaks": 0}
    assert lies.told > 0


class Lies:
    """Stands between the vendor and the launching side, and changes some of what is answered."""

    def __init__(self, honest: Callable[[Any], Answer]) -> None:
        self._honest = honest
        self._chance = Random(0)
        self.rate = self.in_buckets = 0.0
        self.told = 0

    def begin(self, chance: Random) -> None:
        self._chance = chance
        self.rate = chance.choice((0.02, 0.1, 0.3))
        # The store's library pauses in real time between its tries: seldom there.
        self.in_buckets = self.rate if FULL and chance.random() < 0.1 else 0.0

    def __call__(self, request: Any) -> Answer:
        answer = self._honest(request)
        chance = self._chance
        rate = self.in_buckets if _is_of_a_bucket(request) else self.rate
        if request.who != "launcher" or chance.random() >= rate:
            return answer
        self.told += 1
        if chance.random() < 0.7:
            body = hostile_answer(chance, answer.body)
            return Answer(answer.status, answer.headers, body)
        body = chance.choice((answer.body, HTML, b""))
        return Answer(chance.choice(STATUSES), answer.headers, body)


def _is_of_a_bucket(request: Any) -> bool:
    return getattr(request, "service", "") in ("s3", "storage", "blob")
