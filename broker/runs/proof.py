"""Proves a cloud by a run of its own: a job that does not end, which the outer kill has to end.

The machine's own keepers strike after the kill switch outside is due (`guest_late_s`), and this
program ends nothing before that either. So who ended it in time was the vendor, which is asked
besides where it can tell.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from mlbroker.broker.clouds.interface import Cloud, Intent, Traits
from mlbroker.broker.clouds.leftovers import Ender, Looks
from mlbroker.broker.clouds.rented import RentedCloud
from mlbroker.broker.errors import CloudError
from mlbroker.broker.ledger import Attempt, Ledger, Run, State
from mlbroker.broker.runs.attempt import intent_of
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.driver import Driver
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.order import Order
from mlbroker.broker.words import exact_usd
from mlbroker.pricing.vendors import vendor

SCHEMA = "mlbroker.proof/1"
JOB = "mlbroker-proof"
MARKS = {True: "ok", False: "not ok", None: "unknown"}
SECRET = "MLBROKER_PROOF"  # noqa: S105  # its name
CAME_UP, DID_WORK = "proof: came up", "proof: did its work"
# What of the machine strikes at all comes this much after the last moment the vendor may take.
GUEST_AFTER_S = 240
# What is being removed may show for a while, and who did it may not.
GONE_WITHIN_S = 300.0
# A set-up time is a median: half of all machines take longer.
SETUP_TIMES = 2.0
# A job that works, has had its secret, and then hears nobody.
COMMAND = (
    f"trap '' TERM INT; test -n \"${SECRET}\" && echo '{CAME_UP}'; "
    f"test \"$(seq 1000 | sha256sum | cut -c1-8)\" = 67d4ff71 && echo '{DID_WORK}'; "
    "while :; do sleep 5; done"
)

Remains = Callable[[Intent, str, str | None], Looks]
EndedBy = Callable[[Intent, str], Ender | None]


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim, whether it holds (None: nobody knows), and by what; seconds where it is a time."""

    claim: str
    ok: bool | None
    says: str
    measured_s: float | None = None
    limit_s: float | None = None


def guest_late_s(traits: Traits) -> int:
    """How much later than the kill time the machine's own keepers strike in a proof."""
    return int(traits.kill_slack_s) + GUEST_AFTER_S


@dataclass
class Proof:
    """One proof, carried by whoever launched it or by a later process (`driver` knows)."""

    ledger: Ledger
    folder: RunFolder
    driver: Driver
    clock: Clock
    opened: Callable[[str], Cloud]
    remains: Remains
    ended_by: EndedBy
    _visible_s: float | None = None
    _secrets_at: str | None = None

    def carry(self, run_id: str) -> dict[str, Any]:
        """To the run's settlement; the report, without anybody's account in it."""
        run = self.driver.advance(run_id)
        while not run.settled:
            if run.state is State.CREATED and self._visible_s is None:
                self._when_listed(run)
            run = self.driver.advance(run_id)
        return self.report(run)

    def report(self, run: Run) -> dict[str, Any]:
        """What was found of a run that is settled."""
        launched = [attempt for attempt in run.attempts if attempt.machine_id]
        last = launched[-1] if launched else None
        found = list(self._findings(run, last))
        document = {
            "schema": SCHEMA,
            "run_id": run.run_id,
            "cloud": (last or run.attempt).cloud if run.attempts else None,
            "region": (last or run.attempt).region if run.attempts else None,
            "account_sha256": _digest(run.attempts[-1].account if run.attempts else ""),
            "instance_type": last.instance_type if last else None,
            "market": last.market if last else None,
            "cap_usd": exact_usd(run.cap_usd),
            "spent_usd": exact_usd(run.spent_usd),
            "kill_at": last.kill_at.isoformat() if last else None,
            "ended_at": last.ended_at.isoformat() if last and last.ended_at else None,
            "findings": [asdict(finding) for finding in found],
        }
        return _without(document, {a.account for a in run.attempts if a.account})

    def _when_listed(self, run: Run) -> None:
        """How long a machine that was made stays out of listings, and where its secrets are."""
        cloud, intent = self.opened(run.attempt.cloud), self._intent(run, run.attempt)
        began, most_s = self.clock.now(), 4 * cloud.traits.visible_after_s
        while True:
            waited_s = (self.clock.now() - began).total_seconds()
            try:
                there = any(one.id == run.attempt.machine_id for one in cloud.find(intent.tags))
                if there and self._secrets_at is None:
                    self._secrets_at = cast(RentedCloud, cloud).hand_over(intent, {})
            except CloudError:
                there = False
            if there or waited_s > most_s:
                self._visible_s = (self.clock.now() - began).total_seconds()
                return
            self.clock.sleep(1.0)

    def _intent(self, run: Run, attempt: Attempt) -> Intent:
        order = Order.load(self.folder.path, run.details["order_sha256"])
        return intent_of(run, attempt, order)

    def _findings(self, run: Run, last: Attempt | None) -> Iterator[Finding]:
        if last is None:
            detail = run.detail or "; ".join(a.detail or a.why or "" for a in run.attempts)
            yield Finding("a machine is launched", False, f"{run.outcome}: {detail}")
            return
        traits = self.opened(last.cloud).traits
        yield Finding("a machine is launched", True, f"{last.instance_type}, {last.market}")
        log = self.folder.log.read_text("utf-8", "replace") if self.folder.log.exists() else ""
        for claim, line in (("the job starts", CAME_UP), ("the job works", DID_WORK)):
            yield Finding(
                claim, line in log, "as its log says" if line in log else "not in its log"
            )
        yield Finding(
            "logs come home", bool(log) and "log" not in last.missing, f"{len(log)} bytes"
        )
        yield from self._times(run, last, traits)
        yield from self._gone(run, last)
        held = run.spent_usd <= run.cap_usd
        yield Finding("the cap holds", held, f"{exact_usd(run.spent_usd)} USD by our books")

    def _times(self, run: Run, last: Attempt, traits: Traits) -> Iterator[Finding]:
        own = last.why == "capped" and last.detail is None
        late_s = (last.ended_at - last.kill_at).total_seconds() if last.ended_at else None
        ended = "the kill switch outside ends the machine"
        if not own or late_s is None or late_s < -1:
            yield Finding(ended, False, f"{last.why}: {last.detail or 'not at its kill time'}")
        else:
            ender = self._told_by(self._intent(run, last), last.machine_id or "")
            yield Finding(ended, ender.outside, ender.says)
        yield _within("it ends it within kill_slack_s", late_s, traits.kill_slack_s)
        yield _within(
            "a new machine is listed within visible_after_s",
            self._visible_s,
            traits.visible_after_s,
        )
        at = {fact.kind: fact.at for fact in self.ledger.facts(run.run_id)}
        setup_s = _between(at, State.ARMED, State.RUNNING)
        yield _within(
            "set-up takes setup_s or so", setup_s, SETUP_TIMES * vendor(last.cloud).setup_s
        )

    def _told_by(self, intent: Intent, machine_id: str) -> Ender:
        """Vendors' records may lag; where they stay silent it follows from the time."""
        until = self.clock.now() + timedelta(seconds=GONE_WITHIN_S)
        while True:
            try:
                told = self.ended_by(intent, machine_id)
            except CloudError as error:
                told = Ender(None, str(error).replace("\n", " "))
            if told is not None:
                return told
            if self.clock.now() >= until:
                return Ender(True, "inferred: nothing else would have by then")
            self.clock.sleep(10.0)

    def _gone(self, run: Run, last: Attempt) -> Iterator[Finding]:
        intent = self._intent(run, last)
        until = self.clock.now() + timedelta(seconds=GONE_WITHIN_S)
        for what, look in self.remains(intent, last.machine_id or "", self._secrets_at).items():
            claim = f"nothing is left: {what}"
            try:
                left = look()
                # Removing a secret is how it is looked for: once is enough.
                while left and what != "secrets" and self.clock.now() < until:
                    self.clock.sleep(10.0)
                    left = look()
            except CloudError as error:
                yield Finding(claim, None, str(error).replace("\n", " "))
                continue
            yield Finding(claim, not left, f"{len(left)} left: {left[0]}" if left else "gone")


def verdict(report: Mapping[str, Any]) -> bool:
    """Whether nothing was found that does not hold."""
    return all(finding["ok"] is not False for finding in report["findings"])


def markdown(report: Mapping[str, Any]) -> str:
    """For people."""
    lines = [
        f"# Proof of {report['cloud']} {report['region']}, run {report['run_id']}",
        "",
        f"{report['instance_type']}, {report['market']}: {report['spent_usd']} of "
        f"{report['cap_usd']} USD. Account (SHA-256): {report['account_sha256']}",
        "",
        "| claim | finding | says | measured, s | limit, s |",
        "|---|---|---|---|---|",
    ]
    for one in report["findings"]:
        measured, limit = (("" if one[k] is None else f"{one[k]:g}") for k in _SECONDS)
        says = one["says"].replace("|", "/")
        mark = MARKS[one["ok"]] if one["ok"] is not False else f"**{MARKS[False]}**"
        lines.append(f"| {one['claim']} | {mark} | {says} | {measured} | {limit} |")
    return "\n".join(lines) + "\n"


_SECONDS = ("measured_s", "limit_s")


def _within(claim: str, measured_s: float | None, limit_s: float) -> Finding:
    if measured_s is None:
        return Finding(claim, None, "was not measured", None, limit_s)
    ok = measured_s <= limit_s
    return Finding(claim, ok, "in time" if ok else "too late", round(measured_s, 1), limit_s)


def _between(at: Mapping[str, datetime], first: State, last: State) -> float | None:
    if first not in at or last not in at:
        return None
    return (at[last] - at[first]).total_seconds()


def _digest(account: str) -> str:
    return hashlib.sha256(account.encode()).hexdigest()[:16]


def _without(document: dict[str, Any], accounts: set[str]) -> dict[str, Any]:
    for finding in document["findings"]:
        for account in accounts:
            finding["says"] = finding["says"].replace(account, "(account)")
    return document
