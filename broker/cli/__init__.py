"""The command line. One file a command group, imported only when it is called."""

import functools
import gc
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

import typer

from mlbroker.broker.cli.commands import COMMANDS
from mlbroker.broker.errors import Interrupted, MlbrokerError
from mlbroker.broker.output import fail, write_whatever_the_terminal_can_show

P = ParamSpec("P")
R = TypeVar("R")

HELP = (
    "Measure, plan, run and check machine-learning jobs at the least cost that meets the deadline."
)


def main() -> None:
    """Entry point of the `mlbroker` script: run one command, turn every failure into its code."""
    # A command makes its values once and ends: hunting for cycles among a hundred thousand young
    # ones takes a tenth of a plan's time. A run that watches for days still gets its collections.
    gc.set_threshold(100_000, 50, 50)
    write_whatever_the_terminal_can_show()
    argv = explain_all(sys.argv[1:])
    only_reads = argv[:1] == ["plan"]
    if only_reads:
        # And this one is over before its first would find anything.
        gc.disable()
    try:
        code = _run(argv)
    except KeyboardInterrupt:
        code = fail(Interrupted("interrupted"))
    # What it came to stands.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if only_reads:
        # The system takes its memory back at once; freeing value by value takes a tenth of its
        # time.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(argv: list[str]) -> int:
    """Run the command in `argv`; returns the exit code."""
    try:
        build_app(argv)(argv, prog_name="mlbroker")
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except MlbrokerError as error:
        return fail(error)
    except BrokenPipeError:
        _reader_left()
    except Exception as error:
        if os.environ.get("MLBROKER_DEBUG"):
            raise
        hint = "This is a bug. MLBROKER_DEBUG=1 shows where; `mlbroker reconcile` tidies up runs."
        return fail(MlbrokerError(f"{type(error).__name__}: {error}", hint=hint))
    return 0


def _reader_left() -> None:
    """The reader of our output went away (`mlbroker plan … | head`): not an error of ours."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explain_all(argv: list[str]) -> list[str]:
    """`--explain` alone explains everything: give it the value that says so.

    Typer has no options with an optional value. What follows is the value unless it is another
    option, the end, or a job file.
    """
    done: list[str] = []
    for position, word in enumerate(argv):
        done.append(word)
        if word == "--explain":
            following = argv[position + 1] if position + 1 < len(argv) else "-"
            if following.startswith("-") or following.endswith((".yaml", ".yml")):
                done.append("*")
    return done


def build_app(argv: list[str]) -> typer.Typer:
    """The Typer application. Only the command in `argv` is imported, or that of a shell's line."""
    wanted = next((word for word in argv if not word.startswith("-")), None)
    if "_MLBROKER_COMPLETE" in os.environ:
        from mlbroker.broker.cli.completion import command_asked_for

        wanted = command_asked_for()
    # Rich help costs 50 ms: it is worth that to a person at a terminal, and to nobody else.
    markup = "rich" if sys.stdout.isatty() else None
    app = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode=markup,  # type: ignore[arg-type]  # typer's Literal is not exported
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_version_option)
    for name, command in COMMANDS.items():
        if name == wanted:
            _register(app, name, command.module, command.help)
        else:
            app.command(name, help=command.help)(_unloaded)
    return app


def _register(app: typer.Typer, name: str, module_name: str, help_text: str) -> None:
    module = import_module(f"mlbroker.broker.cli.{module_name}")
    if hasattr(module, "app"):
        for info in module.app.registered_commands:
            info.callback = _guarded(info.callback)
        app.add_typer(module.app, name=name, help=help_text)
    else:
        settings = getattr(module, "CONTEXT_SETTINGS", None)
        app.command(name, help=_long_help(module.command, help_text), context_settings=settings)(
            _guarded(module.command)
        )


def _long_help(function: Callable[..., Any], short: str) -> str:
    rest = (function.__doc__ or "").partition("\n\n")[2]
    return f"{short}\n\n{rest}" if rest else short


def _guarded(function: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (KeyboardInterrupt, typer.Abort):
            raise Interrupted("interrupted") from None
        except BrokenPipeError:
            _reader_left()
            raise typer.Exit from None

    return wrapper


def _unloaded() -> None:
    """Stands for a command that was not called: its help line is all that is shown of it."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"mlbroker {version('mlbroker')}")
        raise typer.Exit


def _version_option(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", is_eager=True, callback=_print_version
    ),
) -> None:
    """Options of `mlbroker` itself."""
