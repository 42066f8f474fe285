"""`--env KEY=VALUE`: variables of this call in place of, and beside, a job file's `envs`."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_strict import quoted

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


# What mlbroker tells a job comes under this beginning.
_OURS = "MLBROKER_"


class EnvFlags(NamedTuple):
    """`values` stand on the command line; `taken` are read from the environment at launch, like
    secrets: `--env KEY`.
    """

    values: Mapping[str, str]
    taken: tuple[str, ...] = ()


NO_ENV = EnvFlags({})


def parse_own_variable(text: str) -> str:
    """A variable of the job's own that a file has mlbroker set for it."""
    if VARIABLE.fullmatch(text) is None:
        what = f"{quoted(text)} is not the name of an environment variable"
        raise InputError(what, hint="letters, digits and underscore only")
    if text.startswith(_OURS):
        raise InputError(f"names that begin with {_OURS} are mlbroker's own")
    return text


def parse_env(flags: Sequence[str] | None, environ: Mapping[str, str] = os.environ) -> EnvFlags:
    """The flags as they were given; of one variable the last holds."""
    values: dict[str, str] = {}
    taken: dict[str, None] = {}
    for flag in flags or ():
        name, equals, value = flag.partition("=")
        if VARIABLE.fullmatch(name) is None:
            raise InputError(
                f"{quoted(name)} is not the name of an environment variable",
                where="--env",
                hint="write KEY=VALUE, or KEY for its value in your environment",
            )
        values.pop(name, None)
        taken.pop(name, None)
        if equals:
            values[name] = value
        elif name in environ:
            taken[name] = None
        else:
            raise InputError(f"the environment has no {name}", where="--env", hint=f"{name}=VALUE")
    return EnvFlags(values, tuple(taken))
