"""Seats: identities for machines, made with the set-up, each lent to one attempt at a time.

A seat may touch its own folder of the bucket and its own secrets, and nothing of other seats. Its
rights are there before any machine is, and whoever launches gives none to anybody.
Who has which seat stands in one object of the bucket, out of the machines' reach. It changes only
from what was read: by its generation on Cloud Storage
(cloud.google.com/storage/docs/request-preconditions), by its ETag on Azure
(learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations).
"""

import json
import random
import secrets
import time
from abc import abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mlbroker.broker.clouds.bucket import BucketBox, run_folder, store_errors
from mlbroker.broker.clouds.interface import Denied, Intent, NoQuota, Unclear
from mlbroker.broker.clouds.rented import KEEP_DAYS, RentedCloud

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# So many attempts at once in a region. Google grants a project 100 service accounts
# (docs.cloud.google.com/iam/quotas), which is six regions.
SEATS = tuple(f"{number:02d}" for number in range(16))
LEASES = "leases.json"
# Those who launch at once change it one after the other, and Cloud Storage takes about one change
# of an object a second (cloud.google.com/storage/quotas).
_TRIES = 40
_LONGEST_PAUSE_S = 0.5
_UNANSWERED = 3
_T = TypeVar("_T")


class Seat(NamedTuple):
    """A seat as it is lent. By `until` all that was left on it is gone, were it never discarded.

    An access token outlives its machine, by an hour on Google Cloud and by a day on Azure: who
    took one away could ask for what the seat's next attempt has there. But nobody on a seat can
    list, and what an attempt has is named by a `nonce` too, which cannot be guessed.
    """

    number: str
    token: str
    nonce: str
    until: datetime

    @property
    def name(self) -> str:
        """What the attempt's folder and secrets are called."""
        return f"{self.token}-{self.nonce}"

    @property
    def folder(self) -> str:
        """The attempt's own in the bucket."""
        return f"{seat_folder(self.number)}/{self.name}"


class Leases(NamedTuple):
    """Who has which seat of a region, by its number, and which one was lent last."""

    seats: dict[str, Seat]
    last: str

    def of(self, token: str) -> Seat | None:
        """The seat that this attempt has."""
        return next((seat for seat in self.seats.values() if seat.token == token), None)


def seat_folder(number: str) -> str:
    """All that a seat may touch in the bucket."""
    return run_folder(number)


class SeatedCloud(RentedCloud):
    """A rented cloud whose machines sit on seats."""

    @abstractmethod
    def empty(self, region: str, seat: Seat) -> None:
        """Remove the secrets that were handed over on this seat."""

    @cached_property
    def _known(self) -> dict[str, Seat]:
        """Seats by token: an attempt keeps its own until it is discarded."""
        return {}

    def _book(self, region: str) -> "SeatBook":
        return SeatBook(*self.bucket(region), self.how_to_set_up(region))

    def leases(self, region: str) -> dict[str, Seat]:
        """The seats of a region that are lent, by their number."""
        return self._book(region).read().seats

    def seat(self, intent: Intent) -> Seat | None:
        """The attempt's seat; None when it has none, yet or any more."""
        if intent.token not in self._known:
            seat = self._book(intent.region).read().of(intent.token)
            if seat is None:
                return None
            self._known[intent.token] = seat
        return self._known[intent.token]

    def take_seat(self, intent: Intent) -> Seat:
        """The same seat each time; nothing lies there that another attempt left."""
        region = intent.region
        seat = self._book(region).take(intent, lambda former: self.empty(region, former))
        self._box(intent, seat_folder(seat.number)).discard_all_but(seat.name)
        self._known[intent.token] = seat
        return seat

    def box(self, intent: Intent) -> BucketBox:
        """The attempt's folder, in that of its seat."""
        seat = self.seat(intent)
        return super().box(intent) if seat is None else self._box(intent, seat.folder)

    def _box(self, intent: Intent, folder: str) -> BucketBox:
        return BucketBox(*self.bucket(intent.region), folder, self.how_to_set_up(intent.region))

    def forget_secrets(self, intent: Intent) -> None:
        """Those of its seat."""
        seat = self.seat(intent)
        if seat is not None:
            self.empty(intent.region, seat)

    def discard(self, intent: Intent) -> None:
        """What it left first, then its seat: the next one finds it empty."""
        super().discard(intent)
        self._book(intent.region).release(intent.token)
        self._known.pop(intent.token, None)


class SeatBook:
    """Where it is written who has which seat of a region.

    `where` is its bucket's name for messages, `hint` says how such a bucket comes to be.
    """

    def __init__(self, store: "ObjectStore", where: str, hint: str) -> None:
        self._store = store
        self._where = where
        self._hint = hint

    def take(self, intent: Intent, empty: Callable[[Seat], None]) -> Seat:
        """The seat of this attempt: lent now, or lent before.

        One whose time is over is lent again, once `empty` took its former secrets away.
        """
        nonce = secrets.token_hex(16)

        def taken(leases: Leases) -> tuple[Seat, Leases]:
            own = leases.of(intent.token)
            if own is not None:
                return own, leases
            number = self._free(leases, intent)
            if number in leases.seats:
                empty(leases.seats[number])
            until = intent.kill_at + timedelta(days=KEEP_DAYS)
            seat = Seat(number, intent.token, nonce, until)
            return seat, Leases({**leases.seats, number: seat}, number)

        return self._changed(taken)

    def _free(self, leases: Leases, intent: Intent) -> str:
        """The one that has been free the longest, as they go round."""
        after = SEATS.index(leases.last) + 1 if leases.last in SEATS else 0
        in_turn = SEATS[after:] + SEATS[:after]
        free = [number for number in in_turn if number not in leases.seats]
        over = [n for n, seat in leases.seats.items() if seat.until < intent.intended_at]
        for number in (*free, *over):
            return number
        raise NoQuota(
            f"all {len(SEATS)} seats of {intent.region} are taken: "
            + ", ".join(sorted(seat.token for seat in leases.seats.values())),
            where=self._where,
            hint="One is free when its run is settled: `mlbroker reconcile` settles those whose "
            "client died.",
        )

    def release(self, token: str) -> None:
        """Nothing of this attempt is left: its seat is free."""

        def released(leases: Leases) -> tuple[None, Leases]:
            left = {n: seat for n, seat in leases.seats.items() if seat.token != token}
            return None, leases._replace(seats=left)

        self._changed(released)

    def _changed(self, change: Callable[[Leases], tuple[_T, Leases]]) -> _T:
        """Change what is there; again from the beginning when somebody came in between.

        What got no answer is looked at again: it may have come about.
        """
        unanswered = 0
        for _ in range(_TRIES):
            before, version = self._read()
            result, after = change(before)
            if after == before:
                return result
            try:
                if self._write(after, version):
                    return result
            except Unclear:
                unanswered += 1
                if unanswered == _UNANSWERED:
                    raise
            time.sleep(random.uniform(0, _LONGEST_PAUSE_S))
        raise Unclear("too many launch at once: the seats change all the time", where=self._where)

    def read(self) -> Leases:
        """As it is now."""
        return self._read()[0]

    def _read(self) -> tuple[Leases, dict[str, str]]:
        """As it is now, and by what that is known; nothing is known before there is anything."""
        import obstore

        with store_errors(self._where, self._hint):
            try:
                found = obstore.get(self._store, LEASES)
            except FileNotFoundError:
                return Leases({}, ""), {}
            text = bytes(found.bytes())
            version = {"e_tag": found.meta["e_tag"], "version": found.meta["version"]}
        try:
            told = json.loads(text)
            seats = {
                str(number): Seat(
                    str(number), str(token), str(nonce), datetime.fromtimestamp(until, UTC)
                )
                for number, (token, nonce, until) in told["seats"].items()
            }
            leases = Leases(seats, str(told["last"]))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            raise Denied(
                f"{LEASES} is not what mlbroker wrote",
                where=self._where,
                hint="Remove it from the bucket when no run is alive in this region.",
            ) from None
        return leases, {name: str(value) for name, value in version.items() if value}

    def _write(self, leases: Leases, version: dict[str, str]) -> bool:
        """False when somebody else wrote since it was read."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        told = {n: [s.token, s.nonce, s.until.timestamp()] for n, s in leases.seats.items()}
        text = json.dumps({"seats": told, "last": leases.last}, sort_keys=True)
        with store_errors(self._where, self._hint):
            try:
                mode: Any = version or "create"
                obstore.put(self._store, LEASES, text.encode(), mode=mode)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True
