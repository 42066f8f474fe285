"""`mlbroker approve`: a recorded yes to one run above the policy's amount."""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.cli.options import Policy, job_or_name
from mlbroker.broker.errors import RefusedError
from mlbroker.broker.files.values import parse_duration_s, parse_money_usd, parse_option
from mlbroker.broker.home import home
from mlbroker.broker.judge import judge_of
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.output import say
from mlbroker.broker.runs.launch import current_user
from mlbroker.broker.words import exact_usd


def command(
    job: Annotated[str, typer.Argument(help="The job's name, or its file.")],
    up_to: Annotated[str, typer.Option(metavar="USD", help="The most the run may reserve.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the ledger.")],
    user: Annotated[str | None, typer.Option(help="Who may launch it; you, unless named.")] = None,
    valid: Annotated[str, typer.Option(help="How long the approval stands.")] = "7d",
    policy: Policy = None,
) -> None:
    """Approve one run of a job above the amount that the policy lets pass unasked.

    Of the policy file upward from the job's file, or from here for a name alone, the approvers
    may.
    """
    amount = parse_option("--up-to", up_to, parse_money_usd)
    seconds = parse_option("--valid", valid, parse_duration_s)
    assert amount is not None
    assert seconds is not None
    name = job_or_name(job).name
    judge = judge_of(Path(job) if Path(job).exists() else Path.cwd() / "job.yaml", policy)
    if judge is not None and (hit := judge.may_approve(current_user())) is not None:
        raise RefusedError(judge.text(hit), hint="Have one of them approve it.")
    now = datetime.now(UTC)
    body = {
        "id": secrets.token_hex(4),
        "job": name,
        "user": user or current_user(),
        "up_to_usd": str(amount),
        "by": current_user(),
        "reason": reason,
        "expires_at": (now + timedelta(seconds=seconds)).isoformat(),
    }
    open_ledger(home()).note(now, "approved", body)
    say(
        f"Approved: one run of {name} by {body['user']} for up to {exact_usd(amount)} USD, "
        f"until {body['expires_at'][:16]} UTC ({body['id']})"
    )
