"""Holds bodies to the REST names and types of Azure's own library, and refuses in ARM's words."""

import json
import types as python_types
import typing
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any

import typing_extensions
from tests.support.loopback_http import Answer

JSON = [("Content-Type", "application/json; charset=utf-8")]
# Sizes come and go faster than the library does.
OPEN = frozenset({"vmSize"})


def refuse(status: int, code: str, message: str, **headers: str) -> Answer:
    """An error as Azure Resource Manager shapes it."""
    document = {"error": {"code": code, "message": message}}
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Answer(f"{status} {code}", [*JSON, *more], json.dumps(document).encode())


def found(document: Any, status: str = "200 OK", **headers: str) -> Answer:
    """What was asked for."""
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Answer(status, [*JSON, *more], json.dumps(document).encode())


def wrong_machine(body: Any) -> str | None:
    """What of this is no virtual machine, or None."""
    from azure.mgmt.compute import types

    return wrong(body, types.VirtualMachine, "")


def wrong_network(body: Any, kind: str) -> str | None:
    """What of this is no network resource of this kind, or None."""
    from azure.mgmt.network import types

    return wrong(body, getattr(types, kind), "")


def wrong(value: Any, kind: Any, at: str) -> str | None:
    """The first thing that is not as it should be, in words."""
    if value is None or kind is Any:
        return None
    origin = typing.get_origin(kind)
    if origin is typing.Required or origin is typing.NotRequired:
        return wrong(value, typing.get_args(kind)[0], at)
    if origin in (typing.Union, python_types.UnionType):
        return _wrong_choice(value, typing.get_args(kind), at)
    if origin is list:
        if not isinstance(value, list):
            return _type(value, "array", at)
        (item,) = typing.get_args(kind)
        return _first((one, item, f"{at}[{n}]") for n, one in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            return _type(value, "object", at)
        item = typing.get_args(kind)[1]
        return _first((one, item, f"{at}['{name}']") for name, one in value.items())
    if typing_extensions.is_typeddict(kind):
        return _wrong_members(value, kind, at)
    wanted: Any = {str: str, bool: bool, int: int, float: (int, float)}.get(kind)
    if wanted is None:
        return None
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        return _type(value, kind.__name__, at)
    return None


def _wrong_members(value: Any, kind: Any, at: str) -> str | None:
    if not isinstance(value, dict):
        return _type(value, "object", at)
    hints = _hints(kind)
    for name in value:
        if name not in hints:
            return (
                f"Could not find member '{name}' on object of type '{kind.__name__}'. "
                f"Path '{_path(at, name)}'."
            )
    for name, hint in hints.items():
        if name not in value and typing.get_origin(hint) is typing.Required:
            return f"Required parameter '{_path(at, name)}' is missing (null)."
    return _first((one, hints[name], _path(at, name)) for name, one in value.items())


def _wrong_choice(value: Any, kinds: tuple[Any, ...], at: str) -> str | None:
    enums = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
    if enums and at.rpartition(".")[2] not in OPEN:
        allowed = {str(one.value).lower() for one in enums[0]}
        if not isinstance(value, str) or value.lower() not in allowed:
            return f"The value '{value}' of parameter '{at}' is not allowed."
        return None
    said = [wrong(value, kind, at) for kind in kinds if kind not in enums]
    return None if None in said else next(iter(said), None)


def _first(members: Any) -> str | None:
    said = (wrong(value, kind, at) for value, kind, at in members)
    return next((one for one in said if one), None)


def _type(value: Any, wanted: str, at: str) -> str:
    return f"Error converting value {json.dumps(value)[:60]} to type '{wanted}'. Path '{at}'."


def _path(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


@cache
def _hints(kind: Any) -> dict[str, Any]:
    package = kind.__module__.rpartition(".")[0]
    models, types = import_module(f"{package}.models"), import_module(f"{package}.types")
    enums = {
        name: one
        for name, one in vars(models).items()
        if isinstance(one, type) and issubclass(one, Enum)
    }
    return typing.get_type_hints(kind, {**enums, **vars(types)}, include_extras=True)
