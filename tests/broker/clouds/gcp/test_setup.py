"""The set-up that `init` writes is what the launcher looks for: closed, bound, of one region."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.support.gcp.catalog import PROJECT, REGIONS
from tests.support.gcp.documents import Networks
from tests.support.gcp.wishes import ACCOUNTS

from mlbroker.broker.app.account import setup_of
from mlbroker.broker.clouds.gcp.names import Names
from mlbroker.broker.clouds.gcp.roles import GUEST, LAUNCHER
from mlbroker.broker.clouds.gcp.setup import gcloud, terraform


def resources(region: str) -> dict[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, object]]] = json.loads(terraform(region))["resource"]
    return found


def test_terraform_makes_what_the_launcher_asks_for() -> None:
    made = resources("us-central1")
    key = "us_central1"
    names = Names(f"${{data.google_client_config.{key}.project}}", "us-central1")
    bucket = made["google_storage_bucket"][key]
    assert bucket["name"] == names.bucket
    assert bucket["public_access_prevention"] == "enforced"
    assert made["google_compute_subnetwork"][key]["name"] == names.network
    assert made["google_service_account"][key]["account_id"] == names.guest_account
    roles = made["google_project_iam_custom_role"]
    assert roles[f"{key}_guest"]["permissions"] == list(GUEST)
    assert roles[f"{key}_launcher"]["permissions"] == list(LAUNCHER)


def test_nobody_comes_in_but_machines_of_the_same_run() -> None:
    (rule,) = resources("us-central1")["google_compute_firewall"].values()
    assert "source_ranges" not in rule
    assert rule["source_tags"] == rule["target_tags"] == ["mlbroker-nodes"]
    assert "0.0.0.0/0" not in terraform("us-central1") + gcloud("us-central1")


def test_nothing_is_made_before_its_api_is_on() -> None:
    made = resources("us-central1")
    services = {f"google_project_service.{name}" for name in made.pop("google_project_service")}
    assert len(services) == 5
    for kind in made.values():
        assert all(set(one["depends_on"]) == services for one in kind.values())  # type: ignore[call-overload]


def test_the_machines_rights_in_the_project_end_at_what_is_ours() -> None:
    (member,) = resources("us-central1")["google_project_iam_member"].values()
    condition = member["condition"]
    assert isinstance(condition, dict)
    assert condition["expression"].count('startsWith("mlb-")') == 3
    assert len(condition["expression"].split(" || ")) == 3


def test_files_of_several_regions_can_lie_together() -> None:
    one, other = json.loads(terraform("us-central1")), json.loads(terraform("europe-west4"))
    for kind in one["resource"]:
        assert not set(one["resource"][kind]) & set(other["resource"][kind])
    assert set(one) == {"data", "resource", "output"}


def test_the_loopback_project_is_set_up_with_these_names() -> None:
    for region in REGIONS:
        names = Names(PROJECT, region)
        assert names.guest in ACCOUNTS
        assert (region, names.network) in Networks().subnets


@pytest.mark.parametrize("region", ["us-central1", "northamerica-northeast2"])
def test_the_gcloud_form_is_a_script_that_names_the_same(region: str, tmp_path: Path) -> None:
    text = gcloud(region)
    script = tmp_path / "setup.sh"
    script.write_text(text)
    subprocess.run(["bash", "-n", str(script)], check=True)
    names = Names("$project", region)
    for name in (names.bucket, names.network, names.guest_account, names.guest_role):
        assert name in text
    assert len(names.guest_account) <= 30
    # Run with a gcloud that only takes notes, every command reaches it in whole words.
    notes = tmp_path / "notes"
    fake = tmp_path / "gcloud"
    fake.write_text(f'#!/bin/bash\nprintf "%s\\n" "$1 $2 $3" >>{notes}\necho acme\n')
    fake.chmod(0o755)
    subprocess.run(
        ["bash", str(script), "user:me@example.com"],
        check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
    )
    assert notes.read_text().count("\n") == 14


def test_init_writes_either_form() -> None:
    assert setup_of("gcp", None, None).file == "mlbroker-gcp-us-central1.tf.json"
    script = setup_of("gcp", "europe-west4", "gcloud")
    assert script.file == "mlbroker-gcp-europe-west4.sh"
    assert script.apply == "bash mlbroker-gcp-europe-west4.sh user:YOU@example.com"
