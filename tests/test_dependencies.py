"""What users install is what the product imports: nothing missing, nothing carried for nothing."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOLDERS = ("broker", "policies", "profiles", "pricing")
# These run by path in the user's own Python, and hook into what they find there.
GUESTS = (ROOT / "profiles" / "probe", ROOT / "broker" / "guest")
# boto3 and requests are made of these two; pyarrow is used where the user has it.
UNDECLARED = {"botocore", "urllib3", "pyarrow"}


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", text)[0].lower() for text in requirements}


def _modules() -> Iterator[str]:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if any(path.is_relative_to(guest) for guest in GUESTS):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from (alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield node.module


def _distributions() -> dict[str, set[str]]:
    """Third-party packages that the product imports, and what may have brought them."""
    where = packages_distributions()
    packages = {module.split(".")[0] for module in _modules()}
    return {
        package: {name.lower() for name in where.get(package, [package])}
        for package in packages - sys.stdlib_module_names - {"mlbroker"}
    }


def test_every_dependency_is_imported() -> None:
    imported = set().union(*_distributions().values())
    assert _names(PROJECT["dependencies"]) - imported == set()


def test_every_import_is_declared() -> None:
    shipped = [text for name, texts in EXTRAS.items() if name != "dev" for text in texts]
    declared = _names(PROJECT["dependencies"] + shipped) | UNDECLARED
    assert {name for name, found in _distributions().items() if not found & declared} == set()
