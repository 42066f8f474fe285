"""CONTRIBUTING's checklists are complete: what they say is enough for a new member to be held to
its registry's tests.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = (
    "broker",
    "policies",
    "profiles",
    "pricing",
    "scripts",
    "testing",
    "tests",
    ".dev",
    "pyproject.toml",
)

ESTIMATOR = '''\
"""Every machine is as fast as the last one measured."""

from collections.abc import Sequence

from mlbroker.profiles.estimators.measured import step_time_s
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Status
from mlbroker.profiles.prediction import Basis, Evidence, Prediction, Target


def estimate(evidence: Evidence, targets: Sequence[Target]) -> list[Prediction | None]:
    """The same for all; nothing without a measurement."""
    times = [
        step_time_s(evidence.job, row) for row in evidence.measurements if row.status is Status.OK
    ]
    guess = Prediction(times[-1], 1.0, Basis.DATASHEET, "the last one") if times else None
    return [guess for _ in targets]


def guess_key(job: Job) -> None:
    """It never guesses."""
'''

# A rented cloud of a small vendor: its folder, and its harness with the vendor itself.
NEW_CLOUD = Path(__file__).parent / "new_cloud"

FEED = '''\
"""One price list of one region, as plain JSON: type -> US dollars an hour."""

import os

from mlbroker.broker.prices.feeds.interface import Batch, Cover, Known, FetchPlan, Scope, Task
from mlbroker.broker.http import Http
from mlbroker.pricing.price_units import nano_from_usd
from mlbroker.broker.prices.records import PriceRecord, TypeRecord

HARDWARE = (4, 16.0, "x86_64", None, None, 0, False, False, None, None)


class OrchardFeed:
    cloud = "orchard"

    def plan(self, scope: Scope, known: Known, http: Http) -> FetchPlan:
        def fetch() -> Batch:
            found = http.json(os.environ["MLBROKER_ORCHARD_URL"])
            prices = {name: nano_from_usd(usd) for name, usd in found.items() if scope.admits(name)}
            return Batch(
                [
                    PriceRecord("orchard", "hill", name, False, price, known.day, "orchard-list")
                    for name, price in prices.items()
                    if price is not None
                ],
                [TypeRecord("orchard", n, HARDWARE, known.day, "orchard-list") for n in prices],
                [Cover("hill", False, scope.instance_types or None)],
            )

        return FetchPlan([Task("hill", fetch)])
'''


GUARDRAIL = '''\
"""`max_price_per_node_hour`: what one machine of a run may cost an hour."""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from mlbroker.policies.guardrails.interface import Rule, RunContext, Section, Subject


@dataclass(frozen=True, slots=True)
class MaxPricePerNodeHour(Rule):
    """Machines of which one costs more an hour."""

    most_usd: Decimal
    example: ClassVar[str] = "2 USD"

    @classmethod
    def read(cls, file: Section, key: str) -> Self | None:
        """An amount."""
        most = file.value(key, file.money_usd)
        return None if most is None else cls(most)

    def why_not(self, subject: Subject, run: RunContext) -> str | None:
        """By the price of one node."""
        if subject.price_per_hour_usd <= self.most_usd * subject.nodes:
            return None
        return f"one machine costs more than {self.most_usd} USD an hour"
'''


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository's code and tests, to be changed at will."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / part, symlinks=True, ignore=ignore)
        else:
            shutil.copy(source, tmp_path / part)
    return tmp_path


def _insert(path: Path, before: str, text: str) -> None:
    old = path.read_text()
    assert old.count(before) == 1, f"{path.name}: the place {before!r} is not where it was"
    path.write_text(old.replace(before, text + before))


def _touched(copy: Path) -> list[Path]:
    """The files of the copy that are new or changed."""
    return [
        path
        for path in copy.rglob("*.*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and ".dev" not in path.parts
        and not (
            (original := ROOT / path.relative_to(copy)).exists()
            and original.read_bytes() == path.read_bytes()
        )
    ]


def _tests(copy: Path, *arguments: str) -> str:
    """Run tests of the copy, against the copy."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-vv", *arguments],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy / ".dev"), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _touched(copy: Path) -> set[str]:
    """The files that are new or other in the copy; of a new folder, the folder."""
    touched = set()
    for part in PARTS:
        for path in (copy / part).rglob("*.*") if (copy / part).is_dir() else [copy / part]:
            name = path.relative_to(copy)
            if not path.is_file() or "__pycache__" in name.parts:
                continue
            if not (ROOT / name.parent).exists():
                touched.add(str(name.parent))
            elif not (ROOT / name).exists() or path.read_bytes() != (ROOT / name).read_bytes():
                touched.add(str(name))
    return touched


def test_a_rented_cloud_is_one_folder_one_entry_and_one_harness(copy: Path) -> None:
    package, support = copy / "broker" / "clouds", copy / "tests" / "support"
    shutil.copytree(NEW_CLOUD / "orchard", package / "orchard")
    shutil.copy(NEW_CLOUD / "harness_orchard.py", support)
    entry = '    "orchard": "mlbroker.broker.clouds.orchard.cloud",\n'
    _insert(package / "__init__.py", '    LOCAL: "mlbroker', entry)
    told = _tests(copy, "tests/conformance/test_clouds.py", "-k", "every_cloud or orchard")
    assert "test_the_kill_switch_needs_no_client[orchard] PASSED" in told
    assert _touched(copy) == {
        "broker/clouds/__init__.py",
        "broker/clouds/orchard",
        "tests/support/harness_orchard.py",
    }


def test_an_estimator_is_one_file_and_one_entry(copy: Path) -> None:
    package = copy / "profiles" / "estimators"
    (package / "last.py").write_text(ESTIMATOR)
    _insert(
        package / "__init__.py",
        "import datasheet, measured",
        "import last\nfrom mlbroker.profiles.estimators ",
    )
    _insert(package / "__init__.py", '    "datasheet":', '    "last": last,\n')
    assert "[last]" in _tests(copy, "tests/conformance/test_estimators.py", "-k", "last")


def test_a_price_feed_is_one_file_one_entry_and_one_answer(copy: Path) -> None:
    package, servers = (
        copy / "broker" / "prices" / "feeds",
        copy / "tests" / "support" / "price_servers.py",
    )
    (package / "orchard.py").write_text(FEED)
    entry = '    "orchard": _of("orchard", "OrchardFeed"),\n'
    _insert(package / "__init__.py", '    "aws": _of', entry)
    _insert(servers, '    "gcp": Place(', '    "orchard": Place("hill", "pear"),\n')
    address = '            "MLBROKER_ORCHARD_URL": f"{public}/orchard",\n'
    _insert(servers, '            "MLBROKER_AZURE_PRICES_URL": public,', address)
    answer = '        if path == "/orchard":\n            return _json({"pear": 1.5, "plum": 2})\n'
    _insert(servers, '        if path == "/api/retail/prices":', answer)
    assert "[orchard]" in _tests(
        copy, "tests/conformance/test_feeds.py", "-k", "orchard or every_feed"
    )


def test_a_guardrail_is_one_file_one_entry_and_one_case(copy: Path) -> None:
    package = copy / "policies" / "guardrails"
    (package / "max_price_per_node_hour.py").write_text(GUARDRAIL)
    _insert(
        package / "__init__.py",
        "from mlbroker.policies.guardrails.max_spend_per_period import",
        "from mlbroker.policies.guardrails.max_price_per_node_hour import MaxPricePerNodeHour\n",
    )
    entry = '    "max_price_per_node_hour": MaxPricePerNodeHour,\n'
    _insert(package / "__init__.py", '    "max_carbon_per_run":', entry)
    suite = copy / "tests" / "conformance" / "test_guardrails.py"
    case = '    "max_price_per_node_hour": Case("0.5 USD", "1 USD"),\n'
    _insert(suite, '    "max_carbon_per_run":', case)
    assert len(_touched(copy)) <= 3
    output = _tests(copy, str(suite), "-k", "max_price_per_node_hour or every_rule")
    for place in ("plan", "check", "before launch", "reservation"):
        assert f"[max_price_per_node_hour-{place}] PASSED" in output


def test_an_objective_is_a_name_a_case_and_a_test(copy: Path) -> None:
    _insert(copy / "profiles" / "job.py", '    WEIGHTED = "weighted"', '    SLOW = "slow"\n')
    _insert(
        copy / "policies" / "objective.py",
        "        case ObjectiveKind.WEIGHTED:",
        "        case ObjectiveKind.SLOW:\n            return (-expected_s, cost_usd)\n",
    )
    _insert(
        copy / "tests" / "policies" / "test_objective.py",
        "    ObjectiveKind.WEIGHTED: Case(",
        "    ObjectiveKind.SLOW: Case((9.0, 900.0, 9.0), (1.0, 100.0, 1.0)),\n",
    )
    schema = copy / "broker" / "schemas" / "job.json"
    schema.write_text(schema.read_text().replace('"time", "carbon"]', '"time", "carbon", "slow"]'))
    assert "[slow]" in _tests(copy, "tests/policies/test_objective.py")
