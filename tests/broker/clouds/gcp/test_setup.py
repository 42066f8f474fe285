"""The set-up that `init` writes is what the launcher looks for: closed, bound, of one region."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.support.gcp.catalog import PROJECT, REGIONS
from tests.support.gcp.documents import Networks
from tests.support.gcp.wishes import ACCOUNTS

from mlbroker.broker.app.account import setup_of
from mlbroker.broker.clouds.gcp.names import Names
from mlbroker.broker.clouds.gcp.roles import GUEST, LAUNCHER
from mlbroker.broker.clouds.gcp.setup import gcloud, own_objects, own_things, terraform
from mlbroker.broker.clouds.seats import SEATS


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
    accounts = [one["account_id"] for one in made["google_service_account"].values()]
    assert accounts == [names.guest_account(seat) for seat in SEATS]
    assert made["google_tags_tag_key"][key]["short_name"] == names.seat_tag
    assert [one["short_name"] for one in made["google_tags_tag_value"].values()] == list(SEATS)
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
    assert len(services) == 7
    for kind in made.values():
        assert all(set(one["depends_on"]) == services for one in kind.values())  # type: ignore[call-overload]


def test_the_machines_rights_end_at_their_seat() -> None:
    for kind, beginning in (
        ("google_project_iam_member", "mlb-us-central1-{}-"),
        ("google_storage_bucket_iam_member", "/objects/runs/{}/"),
    ):
        made = resources("us-central1")[kind]
        for seat in SEATS:
            member = made[f"us_central1_{seat}"]
            condition = member["condition"]
            assert isinstance(condition, dict)
            assert beginning.format(seat) in condition["expression"]
            # Google takes twelve.
            assert len(re.findall(r"&&|\|\|", condition["expression"])) <= 12
    # Nobody else has any right but the launcher, who is named when it is applied.
    assert set(resources("us-central1")["google_project_iam_member"]) == {
        "us_central1_launcher",
        *(f"us_central1_{seat}" for seat in SEATS),
    }


def test_files_of_several_regions_can_lie_together() -> None:
    one, other = json.loads(terraform("us-central1")), json.loads(terraform("europe-west4"))
    for kind in one["resource"]:
        assert not set(one["resource"][kind]) & set(other["resource"][kind])
    assert set(one) == {"data", "resource", "variable"}
    assert not set(one["variable"]) & set(other["variable"])


def test_the_loopback_project_is_set_up_with_these_names() -> None:
    for region in REGIONS:
        names = Names(PROJECT, region)
        assert {names.guest(seat) for seat in SEATS} <= ACCOUNTS
        assert (region, names.network) in Networks().subnets


@pytest.mark.parametrize("region", ["us-central1", "northamerica-northeast2"])
def test_the_gcloud_form_is_a_script_that_names_the_same(region: str, tmp_path: Path) -> None:
    text = gcloud(region)
    script = tmp_path / "setup.sh"
    script.write_text(text)
    subprocess.run(["bash", "-n", str(script)], check=True)
    names = Names("$project", region)
    for name in (names.bucket, names.network, names.guest_account("$seat"), names.guest_role):
        assert name in text
    assert len(names.guest_account("00")) <= 30
    # Run with a gcloud that only takes notes, every command reaches it in whole words.
    notes, conditions = tmp_path / "notes", tmp_path / "conditions"
    fake = tmp_path / "gcloud"
    fake.write_text(
        f'#!/bin/bash\nprintf "%s\\n" "$1 $2 $3 $4" >>{notes}\n'
        "for word; do case $word in --condition-from-file=*) "
        f"cat ${{word#*=}} >>{conditions}; printf -- '---\\n' >>{conditions};; esac; done\n"
        # What was made before is refused, and stays.
        'case "$*" in *" create "*) echo "it already exists" >&2; exit 1;; esac\necho acme\n'
    )
    fake.chmod(0o755)
    subprocess.run(
        ["bash", str(script), "user:me@example.com"],
        check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
    )
    assert notes.read_text().count("\n") == 13 + 5 * len(SEATS)
    written = [one for one in yaml.safe_load_all(conditions.read_text()) if one]
    acme = Names("acme", region)
    assert [one["expression"] for one in written] == [
        expression
        for seat in SEATS
        for expression in (own_things(acme, seat), own_objects(acme, seat))
    ]


def test_the_gcloud_form_stops_at_a_real_refusal(tmp_path: Path) -> None:
    script = tmp_path / "setup.sh"
    script.write_text(gcloud("us-central1"))
    fake = tmp_path / "gcloud"
    fake.write_text('#!/bin/bash\n[ "$2" != networks ] || { echo "no right" >&2; exit 1; }\n')
    fake.chmod(0o755)
    answer = subprocess.run(
        ["bash", str(script)],
        check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert (answer.returncode, answer.stderr) == (1, "no right\n")


def test_init_writes_either_form() -> None:
    assert setup_of("gcp", None, None).file == "mlbroker-gcp-us-central1.tf.json"
    script = setup_of("gcp", "europe-west4", "gcloud")
    assert script.file == "mlbroker-gcp-europe-west4.sh"
    assert script.apply == "bash mlbroker-gcp-europe-west4.sh user:YOU@example.com"
