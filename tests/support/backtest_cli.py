"""A back-test as a user calls it: its document held to its schema, and what it refuses."""

import json
from importlib.resources import files
from typing import Any, NamedTuple

import jsonschema
from click.testing import Result
from typer.testing import CliRunner

from mlbroker.broker.cli import build_app
from mlbroker.broker.errors import InputError


class BacktestCli(NamedTuple):
    """The `backtest` of a group of commands; `schema` is the file of its document's."""

    group: str
    schema: str

    def run(self, *words: object) -> Result:
        app = build_app([self.group])
        return CliRunner().invoke(app, [self.group, "backtest", *map(str, words)])

    def told(self, *words: object) -> dict[str, Any]:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.stderr or result.exception
        document: dict[str, Any] = json.loads(result.stdout)
        text = files("mlbroker.broker").joinpath("schemas", self.schema).read_text()
        jsonschema.validate(document, json.loads(text))
        return document

    def refused(self, *words: object) -> InputError:
        error = self.run(*words).exception
        assert isinstance(error, InputError), error
        return error
