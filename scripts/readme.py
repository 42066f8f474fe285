"""Keep the tables in the documentation equal to the registries and measurements they repeat.

python scripts/readme.py            write them
python scripts/readme.py --check    fail when one has drifted (part of `make check`)
"""

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path

from architecture import glossary, imports, package_map
from figures import figures
from markers import replace_block, table

from mlbroker.broker.cli.commands import COMMANDS
from mlbroker.broker.clouds import CLOUDS
from mlbroker.broker.tuning.searchers import SEARCHERS
from mlbroker.policies.adapt import STRATEGIES
from mlbroker.policies.guardrails import RULES
from mlbroker.policies.queue import POLICIES as QUEUE_POLICIES
from mlbroker.policies.service import POLICIES as SERVICE_POLICIES
from mlbroker.policies.spot import POLICIES
from mlbroker.policies.tuning import POLICIES as TUNING_POLICIES
from mlbroker.profiles.estimators import ESTIMATORS

ROOT = Path(__file__).parents[1]


def commands() -> str:
    """What each command does, as `mlbroker --help` says it."""
    rows = [[f"`mlbroker {name}`", command.help] for name, command in COMMANDS.items()]
    return table(["command", "does"], rows)


def estimators() -> str:
    """The sources of step times, best first."""
    return _registry("estimator", "step times from", ESTIMATORS.items())


def clouds() -> str:
    """The places a run can be launched on."""
    members = ((name, import_module(f"mlbroker.broker.clouds.{name}")) for name in CLOUDS)
    return _registry("cloud", "where the job runs", members)


def spot_policies() -> str:
    """What decides between spot, on demand and waiting."""
    return _registry("policy", "what it does", POLICIES.items())


def queue_policies() -> str:
    """What decides who comes next on few places."""
    return _registry("policy", "what it does", QUEUE_POLICIES.items())


def service_policies() -> str:
    """What decides how many replicas there may be."""
    return _registry("policy", "what it does", SERVICE_POLICIES.items())


def adapt_strategies() -> str:
    """What chooses machines and batch of a training."""
    return _registry("strategy", "what it does", STRATEGIES.items())


def tuning_policies() -> str:
    """What decides how far a trial goes."""
    return _registry("policy", "what it does", TUNING_POLICIES.items())


def searchers() -> str:
    """What decides which point a study tries next."""
    return _registry("searcher", "what it tries", SEARCHERS.items())


def guardrails() -> str:
    """The keys of the policy file, each with an example and what it forbids."""
    lines = []
    for key, rule in RULES.items():
        forbids = inspect.getdoc(rule) or ""
        lines += [f"# {forbids.splitlines()[0]}", f"{key}: {rule.example}"]
        lines += [f"{name}: {example}" for name, example in rule.companions.items()]
    return "\n".join(["```yaml", *lines, "```"])


BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "estimators": estimators,
    "clouds": clouds,
    "guardrails": guardrails,
    "spot-policies": spot_policies,
    "queue-policies": queue_policies,
    "service-policies": service_policies,
    "adapt-strategies": adapt_strategies,
    "tuning-policies": tuning_policies,
    "searchers": searchers,
    "figures": figures,
    "packages": package_map,
    "imports": imports,
    "glossary": glossary,
}


def documents() -> list[Path]:
    """Every page that may hold a block."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def generated(text: str) -> str:
    """`text` with all its blocks up to date."""
    for name in BLOCKS:
        text = replace_block(text, name, _body(name))
    return text


@cache
def _body(name: str) -> str:
    """Worked out once for all pages."""
    return BLOCKS[name]()


def _registry(kind: str, does: str, members: Iterable[tuple[str, object]]) -> str:
    """A table of a registry's members, described by the first lines of their modules."""
    rows = []
    for name, member in members:
        module = inspect.getmodule(member)
        if module is None or not module.__doc__:
            raise SystemExit(f"{kind} {name}: the module that defines it needs a docstring")
        path = Path(inspect.getfile(module)).resolve().relative_to(ROOT)
        rows.append([f"[`{name}`]({path})", module.__doc__.splitlines()[0]])
    return table([kind, does], rows)


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    drifted = False
    for path in documents():
        old = path.read_text(encoding="utf-8")
        new = generated(old)
        if new == old:
            continue
        drifted = True
        if check:
            name = str(path.relative_to(ROOT))
            sys.stdout.writelines(
                difflib.unified_diff(
                    old.splitlines(keepends=True), new.splitlines(keepends=True), name, "generated"
                )
            )
        else:
            path.write_text(new, encoding="utf-8")
    if check and drifted:
        print("Documentation has drifted: python scripts/readme.py")
    return int(check and drifted)


if __name__ == "__main__":
    sys.exit(main())
