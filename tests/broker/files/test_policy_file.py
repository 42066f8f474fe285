"""`mlbroker-policy.yaml`: read strictly, found upward, enforced at launch with the reservation."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.mlbroker import PATIENCE_S, Cli, wait_for

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.policy_file import KEYS, load_policy
from mlbroker.broker.judge import judge_of
from mlbroker.policies.guardrails.alert_terms import AlertTerms
from mlbroker.policies.guardrails.allow import Allow
from mlbroker.policies.guardrails.approve_above import ApproveAbove
from mlbroker.policies.guardrails.caps import Caps
from mlbroker.policies.guardrails.deny import Deny
from mlbroker.policies.guardrails.gpu_needs_reason import GpuNeedsReason
from mlbroker.policies.guardrails.machines import Machines
from mlbroker.policies.guardrails.max_carbon_per_run import MaxCarbonPerRun
from mlbroker.policies.guardrails.max_nodes import MaxNodes
from mlbroker.policies.guardrails.max_price_per_hour import MaxPricePerHour
from mlbroker.policies.guardrails.max_spend_per_period import MaxSpendPerPeriod
from mlbroker.policies.guardrails.max_spend_per_run import MaxSpendPerRun

EVERYTHING = """
max_spend_per_run: 25 USD
max_spend_per_day: {total: 100 USD, per_user: 40 USD, users: {ada: 80 USD}}
max_spend_per_month: {per_project: 500, projects: {search: 2000 USD}}
max_price_per_hour: 12 USD/h
max_carbon_per_run: 500 g
allow: {clouds: [aws, local], regions: ["eu-*"], families: [m7g], markets: [spot]}
deny: {instance_types: "*.metal"}
max_nodes: 4
gpu_needs_reason: true
approve_above: 50 USD
approvers: [grace]
teams: {vision: {users: [ada, bob], share: 60%, max_spend_per_month: 90 USD}, ops: cyd}
queue: {policy: srpt}
ledger: postgresql://db.example.com/books?sslmode=verify-full
alerts: {at: [50, 80%], forecast: false, idle: 10m}
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def write(folder: Path, text: str) -> Path:
    path = folder / "mlbroker-policy.yaml"
    path.write_text(text)
    return path


def test_every_key_is_read(tmp_path: Path) -> None:
    policy = load_policy(write(tmp_path, EVERYTHING))
    assert policy.rules == {
        "deny": Deny(Machines(instance_types=("*.metal",))),
        "allow": Allow(Machines(("aws", "local"), ("eu-*",), ("m7g",), (), ("spot",))),
        "max_nodes": MaxNodes(4),
        "max_price_per_hour": MaxPricePerHour(Decimal(12)),
        "max_carbon_per_run": MaxCarbonPerRun(0.5),
        "max_spend_per_run": MaxSpendPerRun(Caps(Decimal(25))),
        "gpu_needs_reason": GpuNeedsReason(),
        "max_spend_per_day": MaxSpendPerPeriod(
            Caps(Decimal(100), Decimal(40), users={"ada": Decimal(80)}), whole_month=False
        ),
        "max_spend_per_month": MaxSpendPerPeriod(
            Caps(
                per_project=Decimal(500),
                projects={"search": Decimal(2000)},
                teams={"vision": (("ada", "bob"), Decimal(90))},
            ),
            whole_month=True,
        ),
        "approve_above": ApproveAbove(Decimal(50), ("grace",)),
    }
    assert policy.teams == {"vision": ("ada", "bob"), "ops": ("cyd",)}
    assert (policy.shares, policy.queue) == ({"vision": 0.6}, "srpt")
    assert policy.ledger == "postgresql://db.example.com/books?sslmode=verify-full"
    assert policy.alerts == AlertTerms((50, 80), False, 600.0)
    assert all(f"{key}:" in EVERYTHING for key in KEYS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_spend_per_rum: 5", "did you mean 'max_spend_per_run'"),
        ("max_spend_per_day: {user: 5}", "did you mean 'users'"),
        ("max_spend_per_day: [5]", "must be a single value"),
        ("max_price_per_hour: 5 EUR", "USD"),
        ("max_carbon_per_run: 5", "kg"),
        ("allow: {}", "lists nothing"),
        ("deny: {clouds: {a: b}}", "must be a list"),
        ("gpu_needs_reason: yes", "true or false"),
        ("max_nodes: 1.5", "whole number"),
        ("teams: {a: [ada], b: [bob, ada]}", "'ada' is in a already"),
        ("teams: {a: {users: [ada], share: 60%}, b: {users: bob, share: 0.5}}", "than 100 %"),
        ("teams: {a: {users: [ada], share: 160%}}", "teams.a.share: '160%' is more than the whole"),
        ("teams: {a: {share: 50%}}", "teams.a: has no users"),
        ("teams: {a: {users: [ada], shares: 1}}", "did you mean 'share'?"),
        ("teams: {a: {users: [ada], max_spend_per_month: 5 EUR}}", "is not in US dollars"),
        ("queue: {policy: autp}", "queue.policy: there is no queue policy 'autp'"),
        ("queue: auto", "queue: must be a mapping"),
        ("ledger: mysql://db/books", "ledger: is no PostgreSQL URL"),
        ("ledger: postgresql://ada:h4x@db/books", "ledger: a password does not belong into"),
        ("ledger: postgresql://db/books?pass%77ord=h4x", "ledger: a password does not belong"),
        ("ledger: 'postgresql://[h4x/books'", "ledger: is no PostgreSQL URL"),
        ("alerts: {at: [half]}", "per cent"),
        ("alerts: {at: [0]}", "per cent"),
        ("alerts: {idle: soon}", "soon"),
        ("alerts: {when: 3}", "when"),
        ("max_spend_per_run: 5\nmax_spend_per_run: 500", "max_spend_per_run"),
    ],
)
def test_a_misspelt_cap_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        load_policy(write(tmp_path, text))
    assert says in str(caught.value)
    assert "h4x" not in f"{caught.value} {caught.value.hint}"


def test_the_nearest_file_upward_counts(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert judge_of(below / "job.yaml", None) is None
    outer = write(tmp_path, "max_spend_per_run: 1")
    inner = write(tmp_path / "a", "max_spend_per_run: 2")
    found = judge_of(below / "job.yaml", None)
    assert found is not None
    assert found.policy.source == str(inner)
    named = judge_of(below / "job.yaml", outer)
    assert named is not None
    assert named.policy.source == str(outer)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("max_spend_per_run: 0.5", "max_spend_per_run"),
        ("max_spend_per_day: 0.5", "max_spend_per_day"),
        ("max_spend_per_month: {users: {tester: 0.5}}", "of user tester"),
        ("max_price_per_hour: 0.5", "max_price_per_hour"),
        ("allow: {clouds: [aws]}", "cloud local is not among those allowed"),
        ("deny: {markets: [on_demand]}", "market on_demand is denied"),
        ("max_carbon_per_run: 1 kg", "not known"),
        ("approve_above: 0.5", "mlbroker approve job"),
    ],
)
def test_a_rule_keeps_a_run_from_launching(cli: Cli, rule: str, says: str) -> None:
    write(cli.folder, rule)
    answer = cli.run_local(cli.job("touch ran"))
    assert answer.returncode == 3, answer.stderr
    assert says in answer.stderr
    assert not (cli.folder / "ran").exists()
    assert cli.ledger() == []


def test_spending_fills_the_cap_and_settling_frees_the_rest(cli: Cli) -> None:
    write(cli.folder, "max_spend_per_day: 1.5 USD")
    for _ in range(3):
        assert cli.run_local(cli.job("true")).returncode == 0
    assert cli.run_local(cli.job("sleep 60"), "--detach").returncode == 0
    refused = cli.run_local(cli.job("true"))
    assert refused.returncode == 3
    assert "max_spend_per_day" in refused.stderr
    assert cli("stop", "--all").returncode == 0
    assert cli.run_local(cli.job("true")).returncode == 0


def test_an_approval_admits_one_run(cli: Cli) -> None:
    write(cli.folder, "approve_above: 0.5 USD")
    job = cli.job("true", "big")
    assert cli.run_local(job).returncode == 3
    assert cli("approve", "big", "--up-to", "2", "--reason", "the last one").returncode == 0
    assert cli.run_local(job).returncode == 0
    assert cli.run_local(job).returncode == 3
    facts = json.loads(cli("ledger", "export", "--facts", "--format", "json").stdout)["facts"]
    approved = next(fact["body"] for fact in facts if fact["kind"] == "approved")
    assert (approved["by"], approved["reason"]) == ("tester", "the last one")


def test_who_may_not_approve_is_told_and_the_remedy_names_who_asks(cli: Cli) -> None:
    write(cli.folder, "approve_above: 0.5 USD\napprovers: [grace]")
    job = cli.job("true", "big")
    refused = cli.run_local(job, price="0")
    assert refused.returncode == 0, "nothing is spent of one's own"
    refused = cli.run_local(job)
    assert refused.returncode == 3
    (command,) = re.findall("Ask for it: mlbroker (approve .*) --reason", refused.stderr)
    assert command == "approve big --user tester --up-to 1"
    words = [*command.split(), "--reason", "yes"]
    own = cli(*words)
    assert own.returncode == 3
    assert "approvers in mlbroker-policy.yaml: tester is not among grace" in own.stderr
    assert cli(*words, MLBROKER_USER="grace").returncode == 0
    assert cli.run_local(job).returncode == 0


def test_an_approval_by_the_jobs_file_is_for_the_job_in_it(cli: Cli) -> None:
    """The hint says `mlbroker approve NAME`, and every other command takes the file."""
    write(cli.folder, "approve_above: 0.5 USD")
    job = cli.job("true", "big")
    approved = cli("approve", job, "--up-to", "2", "--reason", "yes")
    assert "one run of big by" in approved.stderr
    assert cli.run_local(job).returncode == 0
    missing = cli("approve", "small.yaml", "--up-to", "2", "--reason", "yes")
    assert missing.returncode == 2
    assert "no such file" in missing.stderr


def test_policy_test_names_the_rule(cli: Cli) -> None:
    write(cli.folder, "deny: {clouds: [local]}\nmax_spend_per_run: 0.5")
    answer = cli(
        "policy", "test", cli.job("true"), "--on", "local", "--local-price", "1",
        "--budget", "1", "--json",
    )  # fmt: skip
    assert answer.returncode == 3
    document = json.loads(answer.stdout)
    assert [row["rule"] for row in document["forbidden"]] == ["deny"]
    assert document["caps"]["rule"] == "max_spend_per_run"
    write(cli.folder, "max_spend_per_run: 2")
    assert cli(
        "policy", "test", cli.job("true"), "--on", "local", "--local-price", "1", "--budget", "1"
    ).returncode == 0  # fmt: skip


def test_a_race_for_a_cap_admits_only_what_fits(cli: Cli) -> None:
    write(cli.folder, "max_spend_per_day: 2 USD")
    gate = cli.folder / "gate"
    job = cli.job(f"until test -e {gate}; do sleep 0.05; done")
    racers = [
        cli.start("run", job, "--on", "local", "--local-price", "1", "--budget", "1", "--yes")
        for _ in range(6)
    ]
    # The refused ones leave at once; the admitted ones wait at the gate.
    wait_for(lambda: sum(r.poll() is not None for r in racers) >= 4)
    gate.touch()
    codes = sorted(r.wait(timeout=PATIENCE_S) for r in racers)
    for racer in racers:
        racer.communicate()
    assert codes == [0, 0, 3, 3, 3, 3]
