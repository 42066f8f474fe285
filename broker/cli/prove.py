"""`mlbroker doctor --prove`: ask, launch, wait for the kill, and tell what was found."""

from pathlib import Path
from typing import Any

from mlbroker.broker.app import prove
from mlbroker.broker.cli.terminal import Terminal, confirm
from mlbroker.broker.errors import InputError, MlbrokerError
from mlbroker.broker.files.values import parse_money_usd, parse_option
from mlbroker.broker.output import json_text, print_json, print_line, say
from mlbroker.broker.runs.proof import markdown, verdict
from mlbroker.broker.runs.view import View
from mlbroker.broker.words import duration, exact_usd
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
    view = View()
    for run in prove.earlier(state, cloud)[:1]:
        if not run.settled:
            say(f"Run {run.run_id} is a proof whose process died: going on with it.")
            _tell(prove.report_of(state, run, view), report, json)
            return
        say(f"Earlier proof: run {run.run_id}, {run.outcome}.")
    usd = parse_option("--budget", budget, parse_money_usd)
    if usd is None:
        raise InputError("needs an amount", where="--budget")
    market, terminal = Market.SPOT if spot else Market.ON_DEMAND, Terminal()
    prepared = prove.prepare_proof(state, cloud, region, market, usd, terminal, gpu=gpu)
    first = prepared.options[0]
    say(
        f"To be launched: {first.instance_type} ({first.cloud}, {first.region}, {first.market}) "
        f"for {duration(float(prepared.worst.lifetime_s))}, until the kill switch outside ends "
        f"it. Cap {exact_usd(prepared.cap_usd)} USD."
    )
    if not yes:
        confirm("Go ahead?", "nothing was reserved, nothing was launched")
    _tell(prove.carried(prepared, state, terminal, view), report, json)


def _tell(found: dict[str, Any], report: Path | None, json: bool) -> None:
    if report is not None:
        is_text = report.suffix == ".md"
        report.write_text(markdown(found) if is_text else json_text(found) + "\n", "utf-8")
    if json:
        print_json(found)
    else:
        print_line(markdown(found))
    if not verdict(found):
        bad = [one["claim"] for one in found["findings"] if one["ok"] is False]
        raise MlbrokerError(
            f"{len(bad)} of {len(found['findings'])} claims do not hold: {'; '.join(bad)}",
            hint="Please report it with this report: nothing in it names your account.",
        )
