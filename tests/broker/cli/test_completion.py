"""What a shell is offered: asked as it asks, with the line so far in the environment."""

import pytest
from tests.support.mlbroker import Cli


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    cli = Cli(tmp_path_factory.mktemp("shell"))
    assert cli("prices", "status").returncode == 0
    for run in ("20261101-120000-aa", "20261102-120000-bb"):
        (cli.home / "runs" / run).mkdir(parents=True)
    (cli.home / "nodes.yaml").write_text(
        "nodes:\n- {name: gpu-box, host: 10.0.0.1, hardware: {vcpus: 8, memory_gib: 32}, "
        "price_per_hour_usd: 1}\n"
    )
    return cli


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("pl", ["plan"]),
        ("logs ", ["20261102-120000-bb", "20261101-120000-aa"]),
        ("stop 20261101", ["20261101-120000-aa"]),
        ("run --resume 20261102", ["20261102-120000-bb"]),
        ("run --on ", ["local", "gpu-box"]),
        ("run --on g", ["gpu-box"]),
        ("plan --cloud a", ["aws", "azure"]),
        ("plan --region us-east", ["us-east-1", "us-east-2", "us-east1", "us-east4", "us-east5"]),
        ("plan --instance-type m5.x", ["m5.xlarge"]),
        ("spot show m5.x", ["m5.xlarge"]),
    ],
)
def test_what_is_offered(cli: Cli, line: str, offered: list[str]) -> None:
    words = f"mlbroker {line}"
    answer = cli(
        _MLBROKER_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
    )
    assert (answer.stdout.split(), answer.stderr) == (offered, "")
