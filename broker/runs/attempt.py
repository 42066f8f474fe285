"""One attempt: its token and intent, what goes along with its create, and clearing up after it.

Intent and token are rebuilt from ledger and order: they are the same in every process.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from mlbroker.broker.clouds.interface import (
    Cloud,
    Intent,
    Machine,
    Payload,
    Traits,
    Unclear,
    telling_price,
)
from mlbroker.broker.errors import CloudError, InputError
from mlbroker.broker.ledger import Attempt, Run
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.ending import Gone
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.footprint import footprint
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.pricing.billing import WorstCase
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import LOCAL, vendor

CREATE_TRIES = 6


def token_of(run_id: str, attempt: int) -> str:
    """The same for the same attempt, whichever process asks."""
    return f"mlb-{run_id}-{attempt}"


def intent_of(run: Run, attempt: Attempt, order: Order) -> Intent:
    """What the cloud is asked with."""
    candidate = order.candidate(attempt)
    return Intent(
        token=attempt.token,
        run_id=run.run_id,
        attempt=attempt.number,
        job=run.job,
        cloud=attempt.cloud,
        region=attempt.region,
        zone=attempt.zone,
        instance_type=attempt.instance_type,
        market=attempt.market,
        nodes=attempt.nodes,
        price_per_hour_usd=attempt.price_per_hour_usd,
        intended_at=attempt.intended_at,
        kill_at=attempt.kill_at,
        disk_gb=candidate.disk_gb,
        image_id=candidate.image_id,
        max_price_per_hour_usd=candidate.dearest.price_per_hour_usd,
        guest_late_s=order.guest_late_s,
        places=candidate.places,
    )


def next_intent(
    run: Run, order: Order, option: LaunchOption, account: str, worst: WorstCase, now: datetime
) -> dict[str, Any]:
    """What is written down of the run's next attempt, on this machine and up to its worst case."""
    number = len(run.attempts) + 1
    return {
        "attempt": number,
        "token": token_of(run.run_id, number),
        "cloud": option.cloud,
        "account": account,
        "region": option.region,
        "zone": option.zone,
        "instance_type": option.instance_type,
        "market": option.market,
        "nodes": option.nodes,
        "price_per_hour_usd": str(option.price_per_hour_usd),
        "kill_at": (now + timedelta(seconds=float(worst.lifetime_s))).isoformat(),
        "worst_usd": str(worst.usd),
        "allowance_usd": str(worst.allowance_usd),
        "order_sha256": order.digest(),
        "predicted": option.predicted and asdict(option.predicted),
        "batch_size": option.batch_size,
        "lr_scale": option.lr_scale,
    }


def refuse_other_account(attempt: Attempt, now: str) -> None:
    """With credentials of another account than the launch's, nothing is known of its machine."""
    if now != attempt.account:
        raise InputError(
            f"it was launched in {attempt.cloud}'s account {attempt.account}, and the credentials "
            f"are of {now}",
            where=attempt.token,
            hint="Use those of the launch: its machine is not to be seen with these.",
        )


def payload_for(
    order: Order, attempt: Attempt, intent: Intent, folder: RunFolder, secrets: Mapping[str, str]
) -> Payload:
    """The order, made out for this attempt's machine and batch."""
    here = intent.cloud == LOCAL
    spec = dict(order.spec) | {"facts": _facts(intent)}
    if order.batch is not None and attempt.batch_size is not None:
        told = order.batch.variables(attempt.batch_size, attempt.nodes, attempt.lr_scale or 1.0)
        spec["envs"] = {**spec["envs"], **told}
    if not here:
        # A folder of this machine; elsewhere its bundle takes its place.
        spec["workdir"] = None
    return Payload(
        spec=spec,
        bundle=folder.bundle if not here and folder.bundle.exists() else None,
        restore=folder.checkpoint if folder.checkpoint.exists() else None,
        secrets=secrets,
    )


def _facts(intent: Intent) -> dict[str, str]:
    """What the job may know about its own run (documented in docs/runs.md)."""
    return {
        "MLBROKER_RUN_ID": intent.run_id,
        "MLBROKER_JOB": intent.job,
        "MLBROKER_ATTEMPT": str(intent.attempt),
        "MLBROKER_CLOUD": intent.cloud,
        "MLBROKER_INSTANCE_TYPE": intent.instance_type,
        "MLBROKER_KILL_AT": intent.kill_at.isoformat(),
    }


def create(cloud: Cloud, intent: Intent, payload: Payload, clock: Clock) -> Machine:
    """The machine of this intent; an unclear answer is asked for again with the same token.

    After one, a no says nothing of the request before it, which may still be on its way.
    """
    for attempt in range(CREATE_TRIES):
        try:
            return cloud.create(intent, payload)
        except CloudError as error:
            error.made_nothing = error.made_nothing and attempt == 0
            if not isinstance(error, Unclear) or attempt == CREATE_TRIES - 1:
                raise
            clock.sleep(min(2.0**attempt, 8.0))
    raise AssertionError("unreachable")


class Charge(NamedTuple):
    """What an attempt cost, at which price for one machine and hour, and whose price that is.

    `price` is `frozen` (when it was planned), `paid` (as the cloud tells) or `maximum` (a spot
    price that nobody told: no less than what was paid).
    """

    usd: Decimal
    price_per_hour_usd: Decimal
    price: str

    def fact(self) -> dict[str, str]:
        """As the ledger has it."""
        return {
            "charged_usd": str(self.usd),
            "charged_price": self.price,
            "charged_price_per_hour_usd": str(self.price_per_hour_usd),
        }


def price_paid(
    cloud: Cloud, intent: Intent, began: datetime, ended: datetime, warn: Callable[[str], None]
) -> Decimal | None:
    """What the cloud says that a spot machine's hour cost; None where nothing believable is told.

    The vendor ends a machine that would cost more than the maximum, so more is not charged.
    """
    most = intent.most_per_hour_usd
    teller = telling_price(cloud) if intent.market == Market.SPOT else None
    if teller is None:
        return None
    try:
        paid = teller.price_paid(intent, began, ended)
    except CloudError as error:
        warn(f"what was paid is not known, the maximum is charged: {error}")
        return None
    if paid is None or not paid.is_finite() or paid <= 0:
        warn(f"{intent.cloud} does not tell what was paid, the maximum is charged: {intent.token}")
        return None
    if paid > most:
        warn(f"{intent.cloud} tells {paid:f} USD/h paid, above the maximum of {most:f} USD/h")
        return None
    return paid


def charge(
    attempt: Attempt,
    order: Order,
    ended_at: datetime,
    latest: datetime,
    paid_per_hour_usd: Decimal | None = None,
) -> Charge:
    """What an attempt cost that ended then; `latest` is its kill time and the slack after it.

    A vendor's meter goes on until the very end. A machine of one's own may have been asleep at the
    kill time, keepers and all, and is charged no further than that.
    """
    until = min(ended_at, latest) if vendor(attempt.cloud).own else ended_at
    stood_s = Decimal(str(attempt.stood_s(until)))
    option = order.candidate(attempt)
    bill, price = option.dearest, "frozen" if option.dearest == option.bill else "maximum"
    if paid_per_hour_usd is not None:
        bill, price = replace(bill, price_per_hour_usd=paid_per_hour_usd), "paid"
    usd = bill.charge_usd(stood_s)
    return Charge(usd, bill.price_per_hour_usd, price)


def end_of(
    cloud: Cloud,
    intent: Intent,
    attempt: Attempt,
    order: Order,
    gone: Gone,
    latest: datetime,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """What is written down of an attempt whose machine is gone: when and why, and its charge."""
    paid = price_paid(cloud, intent, attempt.began_at, gone.at, warn)
    cost = charge(attempt, order, gone.at, latest, paid)
    spent = footprint(attempt, order, gone.at)
    return {"why": attempt.why or "lost", **gone.fact(), **cost.fact(), **spent}


def if_forgotten(
    attempt: Attempt,
    order: Order,
    traits: Traits,
    now: datetime,
    latest: datetime,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """What the books take for a machine that is listed nowhere; nothing while it surely would be.

    One that was asked for and has ended is forgotten by its vendor after a while. It then counts
    as if it had run until now, or until its kill switch ended it.
    """
    asked_s = (now - attempt.intended_at).total_seconds()
    if traits.remembers_s is None or asked_s <= traits.remembers_s:
        return {}
    until = min(now, latest)
    cost = charge(attempt, order, until, latest)
    detail = (
        f"{attempt.cloud} may have forgotten a machine of it that ended: charged as if it ran "
        f"until {until:%Y-%m-%d %H:%M} UTC; `mlbroker ledger reconcile-bill` shows what it cost"
    )
    warn(f"{attempt.token}: {detail}")
    return {"detail": detail, "at_most": True, **cost.fact()}


def discard(cloud: Cloud, intent: Intent, warn: Callable[[str], None]) -> None:
    """Remove what the guest left. The books are closed: files that stay are no failed run."""
    try:
        cloud.discard(intent)
    except (CloudError, OSError) as error:
        warn(f"attempt {intent.attempt}: its files could not be removed: {error}")


def discard_all(
    run: Run, order: Order, opened: Callable[[str], Cloud], warn: Callable[[str], None]
) -> None:
    """The same of all machines that a run had, save those whose files nothing paid the way for."""
    for attempt in run.attempts:
        if attempt.machine_id and not attempt.stays:
            discard(opened(attempt.cloud), intent_of(run, attempt, order), warn)
