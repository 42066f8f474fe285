"""What an account needs, as templates beside the code: YAML or text that names values `<so>`."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

_VALUE = re.compile(r"<([a-z_]+)>")


def names_of(names: object) -> dict[str, Any]:
    """The names of a set-up, by what they are called in its templates."""
    found = {name: getattr(names, name) for name in dir(names) if not name.startswith("_")}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def filled(cloud: str, file: str, values: Mapping[str, Any]) -> Any:
    """A template as the document that it stands for: a text that is one name is that value."""
    return _filled(_parsed(cloud, file), values)


def filled_text(cloud: str, file: str, values: Mapping[str, Any]) -> str:
    """A template that is a text."""
    return str(_filled(_text(cloud, file), values))


@cache
def _parsed(cloud: str, file: str) -> Any:
    import yaml

    return yaml.safe_load(_text(cloud, file))


def _text(cloud: str, file: str) -> str:
    return (files("mlbroker.broker.clouds") / cloud / file).read_text(encoding="utf-8")


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {_filled(key, values): _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if not isinstance(value, str):
        return value
    whole = _VALUE.fullmatch(value)
    return values[whole[1]] if whole else _VALUE.sub(lambda m: str(values[m[1]]), value)
