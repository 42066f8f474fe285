"""`mlbroker metrics`: the books in Prometheus' text format."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.app import exports
from mlbroker.broker.cli.terminal import note_copy
from mlbroker.broker.home import home
from mlbroker.broker.ledger import open_ledger


def command(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Replace this file as a whole, in place of stdout."),
    ] = None,
) -> None:
    """Write the books as metrics: runs by state, money spent and reserved, kill times.

    For node_exporter's textfile collector, say every minute: mlbroker metrics -o mlbroker.prom
    """
    note_copy(open_ledger(home()))
    text = exports.metrics(home())
    if output is None:
        sys.stdout.write(text)
    else:
        exports.write_metrics(text, output)
