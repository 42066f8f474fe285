"""`mlbroker doctor --prove`: ask, launch, wait for the kill, and tell what was found."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlbroker.broker.app import prove
from mlbroker.broker.app.run import PreparedRun
from mlbroker.broker.cli.ctrl_c import CtrlC, Pressed
from mlbroker.broker.cli.run_view import PlainView, view
from mlbroker.broker.cli.terminal import Terminal, confirm
from mlbroker.broker.errors import CloudError, InputError, Interrupted, MlbrokerError
from mlbroker.broker.files.values import parse_money_usd, parse_option
from mlbroker.broker.output import is_terminal, json_text, print_json, print_table, say
from mlbroker.broker.runs.proof import MARKS, markdown, verdict
from mlbroker.broker.words import duration, exact_usd, local_time
from mlbroker.pricing.offer import Market


def prove_cloud(
    state: Path,
    cloud: str,
    region: str | None,
    budget: str,
    report: Path | None,
    *,
    gpu: bool,
    spot: bool,
    yes: bool,
    json: bool,
) -> None:
    """One proof a call; what an earlier one left open is wound up first, and told instead."""
    for run in prove.earlier(state, cloud)[:1]:
        if not run.settled:
            say(f"Run {run.run_id} is a proof whose process died: going on with it.")
            _refuse_unwritable(report)
            with _watched(state, cloud, json) as (clock, watching):
                found = prove.report_of(state, run, watching, clock)
            _tell(found, report, json)
            return
        say(f"Earlier proof: run {run.run_id}, {run.outcome}.")
    usd = parse_option("--budget", budget, parse_money_usd)
    if usd is None:
        raise InputError("needs an amount", where="--budget")
    market, terminal = Market.SPOT if spot else Market.ON_DEMAND, Terminal()
    prepared = prove.prepare_proof(state, cloud, region, market, usd, terminal, gpu=gpu)
    _announce(prepared)
    if not yes:
        confirm("Go ahead?", "nothing was reserved, nothing was launched")
    _refuse_unwritable(report)
    with _watched(state, cloud, json) as (clock, watching):
        found = prove.carried(prepared, state, terminal, watching, clock)
    _tell(found, report, json)


def _announce(prepared: PreparedRun) -> None:
    first = prepared.options[0]
    say(f"To be launched: {first.instance_type} ({first.cloud}, {first.region}, {first.market}).")
    life = duration(float(prepared.worst.lifetime_s))
    say(f"It lives for {life}, until the kill switch outside ends it.")
    say(f"Cap {exact_usd(prepared.cap_usd)} USD.")


@contextmanager
def _watched(state: Path, cloud: str, json: bool) -> Iterator[tuple[CtrlC, PlainView]]:
    """Inside, the clock and the view of a proof; who leaves is told how it goes on without him."""
    with CtrlC() as ctrl_c:
        # The report alone goes to stdout.
        watching = view(ctrl_c.question, quiet=json or not is_terminal())
        try:
            yield ctrl_c, watching
        except (Pressed, KeyboardInterrupt):
            watching.close()
            raise _left(state, cloud) from None
        except CloudError as error:
            raise CloudError(error.what, where=error.where, hint=_GO_ON) from error
        finally:
            watching.close()


_GO_ON = "Its cap holds all the same. The same command goes on with it."


def _left(state: Path, cloud: str) -> Interrupted:
    for run in prove.earlier(state, cloud)[:1]:
        launched = [attempt for attempt in run.attempts if attempt.machine_id]
        if not run.settled and launched:
            return Interrupted(
                f"left to its kill switch, which is due {local_time(launched[-1].kill_at)}",
                where=f"run {run.run_id}",
                hint=f"The same command goes on with it. To end it now: mlbroker stop {run.run_id}",
            )
    return Interrupted("no machine was launched, as far as is known", hint=_GO_ON)


def _refuse_unwritable(report: Path | None) -> None:
    """A quarter of an hour later is too late to learn it."""
    try:
        if report is not None:
            report.open("a").close()
    except OSError as error:
        raise InputError(f"{report}: {error.strerror}", where="--report") from None


def _show(found: dict[str, Any]) -> None:
    print_table(
        ("", "claim", "finding"),
        [(MARKS[one["ok"]], one["claim"], _says(one)) for one in found["findings"]],
    )
    place, market = (one or "nowhere" for one in (found["region"], found["market"]))
    say(
        f"Run {found['run_id']}: {found['instance_type'] or 'no machine'}, {place}, {market}; "
        f"{found['spent_usd']} of {found['cap_usd']} USD spent."
    )


def _says(finding: dict[str, Any]) -> str:
    measured_s, limit_s = finding["measured_s"], finding["limit_s"]
    if measured_s is None:
        return str(finding["says"])
    return f"{finding['says']}: {measured_s:g} s of {limit_s:g} s"


def _tell(found: dict[str, Any], report: Path | None, json: bool) -> None:
    if report is not None:
        is_text = report.suffix == ".md"
        report.write_text(markdown(found) if is_text else json_text(found) + "\n", "utf-8")
    if json:
        print_json(found)
    else:
        _show(found)
    if not verdict(found):
        bad = [one["claim"] for one in found["findings"] if one["ok"] is False]
        raise MlbrokerError(
            f"{len(bad)} of {len(found['findings'])} claims do not hold: {'; '.join(bad)}",
            hint="Please report it with this report: nothing in it names your account.",
        )
