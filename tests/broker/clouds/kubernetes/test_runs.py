"""Runs on the cluster, by the command line: containers that really run, and what is said."""

import json
import os
from pathlib import Path

import pytest
from tests.support.kubernetes.server import StrictKubernetes, nodes_yaml
from tests.support.mlbroker import Cli, wait_for

SECRET = "only-for-the-pod-81c2"


def cli(folder: Path, world: StrictKubernetes, more: str = "", **how: str) -> Cli:
    found = Cli(folder)
    found.home.mkdir(mode=0o700)
    (found.home / "nodes.yaml").write_text(nodes_yaml(world, more, **how))
    return found


def on_cluster(calls: Cli, run: str, *more: str, **fields: object) -> tuple[int, str, str]:
    work = calls.folder / "work"
    work.mkdir(exist_ok=True)
    (work / "data.txt").write_text("the data\n")
    job = calls.job(run, workdir=str(work), **fields)
    done = calls("run", job, "--on", "kubernetes", "--budget", "0.05", "--yes", *more, PW=SECRET)
    return done.returncode, done.stdout, done.stderr


def test_a_run_to_its_end_with_log_outputs_and_books(
    real: StrictKubernetes, tmp_path: Path
) -> None:
    calls = cli(tmp_path, real)
    run = (
        "cat data.txt; echo $MLBROKER_CLOUD; echo the word is $PW; "
        "echo result > $MLBROKER_OUTPUT_DIR/out.txt"
    )
    code, out, err = on_cluster(calls, run, secrets={"PW": None})
    assert code == 0, err
    assert out == "the data\nkubernetes\nthe word is ***\n"
    (row,) = calls.ledger()
    assert (row["outcome"], row["cloud"]) == ("succeeded", "kubernetes")
    assert 0 < float(row["spent_usd"]) < 0.005
    (outputs,) = calls.home.glob("runs/*/outputs/out.txt")
    assert outputs.read_text() == "result\n"
    assert calls("logs", row["run_id"]).stdout == out
    # Nothing is left, and the secret was in its own object alone.
    assert real.cluster.store.all("jobs") == real.cluster.store.all("secrets") == []
    assert list(real.volume.glob("runs/*")) == []
    holders = {body["kind"] for body in real.bodies if SECRET in json.dumps(body)}
    assert holders == set(), "it travels in base64"
    assert [body["kind"] for body in real.bodies] == ["Job", "Secret"]
    for path in calls.home.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_failing_job_has_its_own_code_and_the_secret_is_owned(
    real: StrictKubernetes, tmp_path: Path
) -> None:
    code, out, err = on_cluster(cli(tmp_path, real), "echo no; exit 3", secrets={"PW": None})
    assert (code, out) == (100, "no\n"), err
    (secret,) = [body for body in real.bodies if body["kind"] == "Secret"]
    (job,) = real.cluster.history.values()
    assert secret["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert job["spec"]["backoffLimit"] == 0
    assert 0 < job["spec"]["activeDeadlineSeconds"] <= 0.05 / 0.36 * 3600


def test_an_image_without_python_is_said(real: StrictKubernetes, tmp_path: Path) -> None:
    code, _, err = on_cluster(cli(tmp_path, real, image="busybox:1.36"), "true")
    assert code == 1
    assert "needs python3, 3.8 or later, in the image" in err
    (row,) = Cli(tmp_path).ledger()
    assert (row["outcome"], float(row["spent_usd"])) == ("machine_failed", 0)


def test_a_volume_that_is_another_one_is_said(real: StrictKubernetes, tmp_path: Path) -> None:
    calls = cli(tmp_path, real)
    nodes = calls.home / "nodes.yaml"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    nodes.write_text(nodes.read_text().replace(str(real.volume), str(elsewhere)))
    code, _, err = on_cluster(calls, "true")
    assert code == 1
    assert "not the same folder" in err


def test_stop_and_the_pods_own_log(real: StrictKubernetes, tmp_path: Path) -> None:
    calls = cli(tmp_path, real)
    job = calls.job("echo up; sleep 300", workdir=str(tmp_path / "w"))
    (tmp_path / "w").mkdir()
    client = calls.start("run", job, "--on", "lab", "--budget", "0.5", "--yes")
    assert client.stdout is not None
    assert client.stdout.readline() == "up\n"
    (run,) = json.loads(calls("ps", "--json").stdout)["runs"]
    (pod,) = real.cluster.store.all("pods")
    wait_for(lambda: real.cluster.kubelet.log(pod) == "up\n")
    done = calls("stop", run["run_id"])
    assert done.returncode == 0, done.stderr
    client.communicate()
    (row,) = calls.ledger()
    assert row["outcome"] == "stopped"


def test_a_pod_that_is_taken_away_goes_on_from_its_checkpoint(
    real: StrictKubernetes, tmp_path: Path
) -> None:
    calls = cli(tmp_path, real)
    work = tmp_path / "w"
    work.mkdir()
    run = (
        'mkdir -p "$MLBROKER_CHECKPOINT_DIR"; cd "$MLBROKER_CHECKPOINT_DIR"; '
        "[ -e half ] && echo went on && exit 0; "
        "touch half; echo begun; sleep 300"
    )
    job = calls.job(run, workdir=str(work), broker={"checkpoint": {"path": "ckpt", "every": "1s"}})
    client = calls.start("run", job, "--on", "lab", "--budget", "0.5", "--yes")
    assert client.stdout is not None
    assert client.stdout.readline() == "begun\n"
    wait_for(lambda: list(real.volume.glob("runs/*/0/checkpoint.tar")))
    (pod,) = real.cluster.store.all("pods")
    real.cluster.evict(pod)
    out, err = client.communicate()
    assert client.returncode == 0, err
    assert "went on" in out
    assert len(real.cluster.history) == 2


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("away", "cannot be reached"),
        ("unknown", "does not know these credentials"),
        ("rights", "may not list jobs in namespace ml"),
        ("folder", "there is no folder"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_reserved(
    fault: str, says: str, real: StrictKubernetes, tmp_path: Path
) -> None:
    calls = cli(tmp_path, real)
    if fault == "away":
        config = Path(os.environ["KUBECONFIG"])
        config.write_text(config.read_text().replace(real.url, "https://127.0.0.1:9"))
    elif fault == "unknown":
        real.tokens.clear()
    elif fault == "rights":
        real.rights = {"pods": {"list"}}
    else:
        nodes = calls.home / "nodes.yaml"
        nodes.write_text(nodes.read_text().replace(str(real.volume), "/nowhere/at/all"))
    code, _, err = on_cluster(calls, "true")
    assert code == 1
    assert says in err
    assert "Traceback" not in err
    assert calls.ledger() == []
    assert real.bodies == []


def test_doctor_tells_each_thing_and_its_role_is_enough(
    real: StrictKubernetes, tmp_path: Path
) -> None:
    import yaml

    calls = cli(tmp_path, real)
    printed = calls("doctor", "--cloud", "kubernetes", "--policies")
    page = Path(__file__).parents[4] / "docs" / "kubernetes.md"
    assert printed.stdout in page.read_text()
    rules = yaml.safe_load(printed.stdout)["rules"]
    real.rights = {resource: set(r["verbs"]) for r in rules for resource in r["resources"]}
    done = calls("doctor", "--cloud", "kubernetes")
    assert done.returncode == 0, done.stdout
    code, _, err = on_cluster(calls, "true", secrets={"PW": None})
    assert code == 0, err
    real.rights["secrets"] = set()
    done = calls("doctor", "--cloud", "kubernetes")
    assert done.returncode == 1
    assert "not allowed in ml: create secrets" in done.stdout


def test_who_may_make_no_secret_is_told_at_once_and_nothing_stays(
    real: StrictKubernetes, tmp_path: Path
) -> None:
    real.rights = {
        "jobs": {"get", "list", "create", "delete"}, "pods": {"list"}, "events": {"list"},
    }  # fmt: skip
    calls = cli(tmp_path, real)
    code, _, err = on_cluster(calls, "true", secrets={"PW": None})
    assert code == 1
    assert "may not create secrets in namespace ml" in err
    (row,) = calls.ledger()
    assert (row["outcome"], float(row["spent_usd"])) == ("not_launched", 0)
    assert real.cluster.store.all("jobs") == real.cluster.store.all("pods") == []
