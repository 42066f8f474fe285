"""The documentation: its links lead somewhere, and its generated tables are up to date."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mlbroker.broker.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
FOLDERS = ("broker", "policies", "pricing", "profiles", "testing")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")])


def _prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """The fragments that a forge makes of a page's headings."""
    headings = re.findall(r"^#+ +(.+?) *$", _prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", LINK.sub(r"", heading)).lower() for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_internal_links_resolve(page: Path) -> None:
    targets = [link for link in LINK.findall(_prose(page)) if not re.match(r"[a-z]+:", link)]
    assert [target for target in targets if not _resolves(page, target)] == []


def _resolves(page: Path, target: str) -> bool:
    file, _, fragment = target.partition("#")
    other = (page.parent / file).resolve() if file else page
    if not other.is_relative_to(ROOT) or not other.exists():
        return False
    return not fragment or other.suffix != ".md" or fragment in _anchors(other)


def test_generated_tables_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "readme.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_nobody_is_sent_to_an_index_for_mlbroker() -> None:
    """Only checkouts and wheels are ours: on an index, the name may be somebody else's."""
    advice = re.compile(r"install\b[^\n`]*[\s'\"]mlbroker(?![\w/.-])")
    texts = [*PAGES, ROOT / "action.yml", *ROOT.glob("templates/*")]
    texts += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    found = {path: advice.findall(path.read_text(encoding="utf-8")) for path in texts}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [path.name[:3] for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert numbers == [f"{number:03}" for number in range(len(numbers))]
    assert len(numbers) > 1


def test_the_workflow_calls_make_targets_that_exist() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert commands
    for command in commands:
        tool, target = command.split()[:2]
        assert tool == "make"
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_help_shows_every_command_in_full() -> None:
    script = Path(sys.executable).with_name("mlbroker")
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run([script, "--help"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    for name, command in COMMANDS.items():
        assert re.search(rf"^ +{name} +{re.escape(command.help)}$", done.stdout, re.MULTILINE)
