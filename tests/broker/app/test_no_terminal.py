"""Services print nothing and ask nobody: whoever calls them has the terminal."""

import ast
from pathlib import Path

import pytest

from mlbroker.broker import app

MODULES = sorted(Path(str(app.__file__)).parent.glob("*.py"))
TERMINAL = {"print", "input", "isatty", "stdin", "stdout", "stderr"}
LIBRARIES = {"typer", "rich", "mlbroker.broker.output"}


@pytest.mark.parametrize("module", MODULES, ids=[path.stem for path in MODULES])
def test_a_service_knows_no_terminal(module: Path) -> None:
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    assert not names & TERMINAL
    assert not {name for name in names for library in LIBRARIES if name.startswith(library)}
