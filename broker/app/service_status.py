"""How a guarded service stands, from what its guard wrote down; and how a guard is ended."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.service_guard import now_here, prepare, request_of
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.services.journal import Journal, Look, services
from mlbroker.broker.words import exact_usd
from mlbroker.policies.service.interface import usd

SCHEMA = "mlbroker.service-status/1"
_POLL_S = 0.2
# A guard that looks is heard of again by then: the engine is given up after seconds.
_PATIENCE_S = 60.0
_MICRO = Decimal("1e-6")


def journal_of(state: Path, named: str | None) -> Journal:
    """That of the service of this name or job file, or of the only one."""
    known = services(state)
    if not known:
        raise InputError("no service has had a guard here", hint="mlbroker service guard --help")
    if named is None:
        if len(known) > 1:
            raise InputError(
                f"there are {len(known)} services", hint=f"Name one: {', '.join(known)}"
            )
        return Journal(state, known[0])
    name = named
    if Path(named).suffix in {".yaml", ".yml"}:
        from mlbroker.broker.files.job_file import load_job

        name = load_job(Path(named), needs_folder=False).job.name
    if name not in known:
        raise InputError(
            f"no guard is known of service {quoted(name)}", hint=nearest_hint(name, known)
        )
    return Journal(state, name)


def status(journal: Journal) -> dict[str, Any]:
    """The document of `mlbroker service status --json`."""
    setup, look = journal.setup(), journal.last()
    assert setup is not None
    return {
        "schema": SCHEMA,
        "service": journal.name,
        "engine": setup["engine"],
        "price_per_hour_usd": setup["price_per_hour_usd"],
        "guard": journal.guard(),
        **(look_document(look, setup) if look else {"looked_at": None}),
    }


def look_document(look: Look, setup: dict[str, Any]) -> dict[str, Any]:
    """One look, as `guard --json` tells it. Money is a decimal string."""
    now = now_here()
    age_ms = now.up_ms - look.up_ms if now.boot == look.boot else now.wall_ms - look.sight.wall_ms
    budgets = {}
    for name, cap in setup["budgets"].items():
        low, mid, high = (_usd(units) for units in look.forecast[name])
        budgets[name] = {
            "cap_usd": cap,
            "spent_usd": _usd(look.spent[name]),
            "forecast_usd": {"p10": low, "p50": mid, "p90": high},
        }
    return {
        "looked_at": _iso(look.sight.wall_ms),
        "age_s": round(max(age_ms, 0) / 1000, 1),
        "running": look.running,
        "ready": look.ready,
        "foreign": look.foreign,
        "requests_per_s": round(look.sight.requests_per_s, 3),
        "wanted": look.sight.wanted,
        "most": look.most,
        "until": _iso(look.until_ms),
        "safe_ceiling": look.then,
        "budgets": budgets,
    }


def stop(journal: Journal, state: Path, listener: Listener) -> Look:
    """End the guard: the engine is left at the safe ceiling, and the ledger is settled.

    MlbrokerError where the guard does not hear; then a lease's end does the same by itself.
    """
    setup, clock = journal.setup(), Clock()
    assert setup is not None
    began = clock.now()
    if journal.guard() is not None:
        journal.ask_to_stop()
        while (who := journal.guard()) is not None:
            if (clock.now() - began).total_seconds() > _PATIENCE_S:
                raise MlbrokerError(
                    f"its guard does not end: {who}", where=f"service {journal.name}",
                    hint="End it; the engine falls back to the safe ceiling by itself.",
                )  # fmt: skip
            clock.sleep(_POLL_S)
        look = journal.last()
        assert look is not None
        return look
    with prepare(request_of(setup), state, listener).guarding(listener) as guard:
        return guard.look(ends=True)


def _usd(units: int) -> str:
    return exact_usd(usd(units).quantize(_MICRO))


def _iso(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="milliseconds")
