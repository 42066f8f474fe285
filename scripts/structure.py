"""Holds the product's code to its shape: small modules, small functions, packages with a map.

python scripts/structure.py           the figures, and what breaks a rule (part of `make check`)

Complexity is ruff's C901, and cycles between packages are an import contract (pyproject.toml).
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
PACKAGES = ("pricing", "profiles", "policies", "broker")
# Run by path inside or beside the user's job: a folder on sys.path, not a package of ours.
RUN_BY_PATH = Path("profiles/probe")

MOST_LINES = 400
MOST_MEDIAN_LINES = 120
MOST_FUNCTION_LINES = 80
MOST_MAP_LINES = 5


def modules() -> dict[Path, str]:
    """Every module of the product and its source, by its path below the root."""
    return {
        path.relative_to(ROOT): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def long_modules(sources: dict[Path, str]) -> Iterator[str]:
    """Modules that do more than one thing, by their length."""
    for path, source in sources.items():
        lines = source.count("\n")
        if lines > MOST_LINES:
            yield f"{path}: {lines} lines, at most {MOST_LINES}"


def long_functions(sources: dict[Path, str]) -> Iterator[str]:
    """Functions past a screen, signature and docstring included."""
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    yield (
                        f"{path}:{node.lineno}: {node.name} has {lines} lines, "
                        f"at most {MOST_FUNCTION_LINES}"
                    )


def packages_without_a_map(sources: dict[Path, str]) -> Iterator[str]:
    """Packages that do not say in one line what they are for, and in five what is where."""
    for folder in sorted({path.parent for path in sources}):
        if folder.is_relative_to(RUN_BY_PATH):
            continue
        source = sources.get(folder / "__init__.py")
        doc = None if source is None else ast.get_docstring(ast.parse(source))
        if not doc:
            yield f"{folder}/__init__.py: no docstring that says what the package is for"
            continue
        _, *rest = doc.splitlines()
        if len([line for line in rest if line.strip()]) > MOST_MAP_LINES:
            yield f"{folder}/__init__.py: its map has more than {MOST_MAP_LINES} lines"


def main() -> int:
    """Print the figures, and each broken rule on a line of its own."""
    sources = modules()
    lengths = [source.count("\n") for source in sources.values()]
    print(
        f"{len(lengths)} modules, {sum(lengths):,} lines, "
        f"median {median(lengths):g}, longest {max(lengths)}"
    )
    broken = [
        *long_modules(sources),
        *long_functions(sources),
        *packages_without_a_map(sources),
    ]
    if median(lengths) > MOST_MEDIAN_LINES:
        broken.append(f"the median module has {median(lengths):g} lines, at most 120")
    for line in broken:
        print(line)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
