"""What all strict clouds on loopback do alike: log, refuse, lose and answer requests, play fate."""

import json
import re
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.support.doom import Doom
from tests.support.faults import Faults
from tests.support.loopback import Quiet, lose, standing
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_guests import Guest, Sandboxes, Script
from tests.support.loopback_http import Answer, Environ, StartResponse

WAIT_S = 120.0
# In real time, one answer about an operation comes this soon: a thread is held no longer.
HELD_S = 5.0
_JSON = [("Content-Type", "application/json")]
_STARTS = re.compile(r"boot\.pyz [-0-9a-z]+ [-0-9a-z]+ \S+ (runs/\S+) [0-9a-f]{64}")
_MACHINE = re.compile(r"/_machine/([-0-9a-z]+)/(.*)")


class StrictCloud(ABC):
    """The WSGI application, and the handles by which a test plays fate."""

    faults: Faults
    # What makes machines and takes them away, with their vendor's limits.
    control: Any

    def __init__(self, frozen: bool) -> None:
        self.clock = VirtualClock(frozen)
        self.doom = Doom()
        self.url = ""
        self.calls: list[tuple[str, ...]] = []
        self.requests: list[Any] = []
        self.denied: list[tuple[str, str]] = []
        # What the vendor's own report of costs says of each run, in USD.
        self.bill: dict[str, str] = {}
        # Requests to buckets that the vendor bills, as `write` or `read`; free ones are not here.
        self.paid: Counter[str] = Counter()
        self.guest: Guest = self._script()
        self._frozen = frozen

    # What a test does to this world.

    def calm(self) -> None:
        """Take back every fault, shortage and delay; what was launched stays."""
        self.faults.clear()
        self.doom.left = None
        self.guest = self._script()
        for log in (self.calls, self.requests, self.denied, self.bill):
            log.clear()

    @abstractmethod
    def sell_all(self) -> None:
        """Offer every type that mlbroker knows prices of, not only those of the tests."""

    @abstractmethod
    def sell_out(self, what: str) -> None:
        """Of this zone, or this type: there are no machines any more."""

    @abstractmethod
    def machines(self) -> Iterable[Any]:
        """All machines there ever were."""

    def vms(self, token: str | None = None) -> list[Any]:
        """All machines there ever were, or those of one token."""
        return [vm for vm in self.machines() if token in (None, vm.token)]

    @abstractmethod
    def stored(self) -> list[str]:
        """The keys of all objects in all buckets."""

    @abstractmethod
    def secrets(self) -> list[str]:
        """The names of all secrets that are kept."""

    @abstractmethod
    def ended_by(self, vm: Any) -> list[str]:
        """Who asked for this machine's end: `guest` is the machine itself."""

    @abstractmethod
    def get_object(self, vm: Any, name: str) -> bytes | None:
        """What lies in the run's folder under this name."""

    @abstractmethod
    def put_object(self, vm: Any, name: str, data: bytes) -> None:
        """As the machine would: into its run's folder in the bucket."""

    @abstractmethod
    def delete_itself(self, vm: Any) -> None:
        """The machine's last act."""

    @abstractmethod
    def power_off(self, vm: Any) -> None:
        """The machine shuts down."""

    def started(self, vm: Any) -> None:
        self.guest.start(vm)

    def ended(self, vm: Any) -> None:
        self.guest.end(vm)

    def _script(self) -> Script:
        return Script(self.clock, self, self.delete_itself)

    # The protocol.

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        request = self.read(environ)
        own = self._own(request)
        if own is not None:
            return own.send(start)
        self.prepare(request)
        with self.clock.lock:
            self.clock.tick()
            self.log(request)
            refusal = self.refused(request)
            if refusal is not None:
                self._meter(request)
                return refusal.send(start)
            doomed = self.doom.strikes(request.who == "launcher")
            if doomed and self.doom.before:
                self.doom.kill()
                return lose(environ)
            outcome = self.faults.before(request)
            if isinstance(outcome, Answer):
                return outcome.send(start)
            if outcome == "before":
                return lose(environ)
            self._meter(request)
            answer = self.answer(request)
            if doomed:
                self.doom.kill()
        if outcome == "after":
            return lose(environ)
        return answer.send(start)

    @abstractmethod
    def read(self, environ: Environ) -> Any:
        """The request, in the vendor's own terms."""

    @abstractmethod
    def prepare(self, request: Any) -> None:
        """Tell what is asked, and let what is waited for come about."""

    def log(self, request: Any) -> None:
        """Keep it for the tests."""
        self.calls.append((request.who or "nobody", request.action))
        self.requests.append(request)

    def refused(self, request: Any) -> Answer | None:
        """The answer to whoever may not."""
        return None

    @abstractmethod
    def answer(self, request: Any) -> Answer: ...

    @abstractmethod
    def paid_as(self, request: Any) -> str | None:
        """The class of price of a request to a bucket; None for what is free, or asks no bucket."""

    def _meter(self, request: Any) -> None:
        """A refusal is paid as an answer is; what the vendor itself failed is not."""
        kind = self.paid_as(request)
        if kind is not None:
            self.paid[kind] += 1

    def let_end(self, operation: Any) -> None:
        """Who asks how an operation goes is answered when it is done, or after a while."""
        held = 0.0
        while operation is not None and operation.done_at is None:
            if held >= (WAIT_S if self._frozen else HELD_S):
                return
            if self._frozen:
                self.clock.advance(1)
                held += 1
            else:
                time.sleep(0.05)
                held += 0.05

    def _own(self, request: Any) -> Answer | None:
        """What is no API: sign-in, the metadata service, the machine's buttons, the clock."""
        if request.path == "/_clock":
            if request.method == "POST":
                self.clock.advance(float(request.query["seconds"]))
            body = json.dumps({"now": self.clock.now().isoformat()}).encode()
            return Answer("200 OK", _JSON, body)
        if request.path == "/_victim":
            self.doom.victim = int(request.query["pid"])
            return Answer("200 OK", _JSON)
        matched = _MACHINE.fullmatch(request.path)
        if matched is None:
            return self.aside(request)
        id_, what = matched.groups()
        vm = next((vm for vm in self.machines() if vm.id == id_), None)
        if vm is None or not vm.works:
            return Answer("404 Not Found", _JSON)
        if what == "poweroff":
            # Answered first: ending the machine ends the one who asks.
            self.clock.after(0, lambda: self.power_off(vm))
            return Answer("200 OK", _JSON)
        if what == "timer":
            return self.timer(vm, float(request.query["seconds"].rstrip("s")))
        return self.metadata_of(vm, what, request)

    def aside(self, request: Any) -> Answer | None:
        """A vendor's own pages beside its API."""
        return None

    @abstractmethod
    def metadata_of(self, vm: Any, what: str, request: Any) -> Answer:
        """What the machine is told about itself."""

    def timer(self, vm: Any, seconds: float) -> Answer:
        """Answered when the time is over: the machine then does what it planned to do."""
        over = threading.Event()
        self.clock.after(seconds, over.set)
        while not over.wait(0.5):
            if not vm.works:
                return Answer("404 Not Found", _JSON)
        return Answer("200 OK", _JSON)


def folder_in(user_data: str) -> str:
    """The folder in the bucket that a machine was told in the script it starts with."""
    found = _STARTS.search(user_data)
    return found.group(1) if found else "runs/nobody"


@contextmanager
def served(
    world: StrictCloud,
    living: Any,
    handler: type[Quiet],
    sandboxes: Sandboxes | None,
    *,
    frozen: bool,
    port: int,
) -> Iterator[None]:
    """Let it run. `sandboxes` execute its machines' scripts; without, scripts stand for them."""
    with ExitStack() as stack:
        if sandboxes is not None:
            stack.callback(sandboxes.close)
        stack.enter_context(standing(world, living, handler, frozen=frozen, port=port))
        if sandboxes is not None:
            world.guest = sandboxes
        yield
