"""`mlbroker tune`: studies of many trials under one cap."""

import typer

from mlbroker.broker.cli.tune_backtest import backtest

app = typer.Typer()


@app.callback()
def tune() -> None:
    """Try what a study of many trials would cost on learning curves."""


app.command("backtest")(backtest)
