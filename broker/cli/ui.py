"""`mlbroker ui`: the pages live, on loopback."""

from pathlib import Path
from typing import Annotated

import typer

from mlbroker.broker.app.ui import site_of
from mlbroker.broker.cli import options
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.home import home
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.output import print_line, say
from mlbroker.broker.ui.server import Server


def command(
    job: Annotated[Path | None, typer.Argument(help="A job file whose plan is shown.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 0,
    policy: options.Policy = None,
) -> None:
    """Show runs, this month's report and a job's plan in a browser, as they change.

    The address holds a token that is good until the command ends. Pages are served to this machine
    alone, and nothing can be changed through them. Ctrl-C ends it.
    """
    load_numpy()
    server = Server(site_of(home(), job, policy, Terminal()), port)
    print_line(server.url)
    say("Open it in a browser of this machine. Ctrl-C ends it.")
    try:
        server.serve()
    except KeyboardInterrupt:
        say("Ended.")
