"""AWS: a machine of EC2 for each attempt, told everything through the user's own bucket.

What it is to do lies there before it is asked for; the links that let it read that, and its
secrets, are handed over when it is there (box.py).

The kill switch outside is set before the machine exists: a one-time schedule that lets Systems
Manager end whatever carries the attempt's tag. The one inside is the first line of its script.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlbroker.broker.clouds.aws.box import AwsBox
from mlbroker.broker.clouds.aws.calls import Calls, code_of, endpoint, translated, unless
from mlbroker.broker.clouds.aws.guest import SECRETS
from mlbroker.broker.clouds.aws.images import choose_image
from mlbroker.broker.clouds.aws.machines import attempts_of, lost_member, machine_of
from mlbroker.broker.clouds.aws.names import Names
from mlbroker.broker.clouds.aws.network import group_id, subnet_of, zones_offering
from mlbroker.broker.clouds.aws.request import kill_request, launch_request
from mlbroker.broker.clouds.aws.spot import price_paid, spot_prices
from mlbroker.broker.clouds.guest_report import End
from mlbroker.broker.clouds.interface import (
    RUN_TAG,
    TOKEN_TAG,
    Cloud,
    Denied,
    Intent,
    Machine,
    MachineState,
    NoCapacity,
    NoQuota,
    Payload,
    Unclear,
    Unfit,
    refusals_make_nothing,
)
from mlbroker.broker.clouds.rented import (
    RentedCloud,
    id_parts,
    joined_consoles,
    refuse_fast_clock,
    rented_traits,
)
from mlbroker.broker.clouds.user_data import start_script
from mlbroker.broker.errors import CloudError

if TYPE_CHECKING:
    from obstore.store import S3Store

# The scheduler keeps to the minute, Systems Manager needs some seconds for each step.
KILL_SLACK_S = 180.0
# Ended machines are listed for "usually less than one hour" (EC2's DescribeInstances): no lower
# bound is documented, a quarter of that is taken.
REMEMBERS_S = 900.0
_RETRY_FOR = timedelta(seconds=30)
_USED = ("IdempotentParameterMismatch", "IdempotentInstanceTerminated")
_STARTS = (MachineState.PENDING, MachineState.RUNNING)
_NOT_FOUND = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")


class AwsCloud(RentedCloud):
    """A machine's id is `REGION/i-…`, or `REGION/i-…+i-…` for a run of several machines."""

    traits = rented_traits(
        KILL_SLACK_S,
        REMEMBERS_S,
        outside="a one-time EventBridge schedule that lets Systems Manager end the machine",
        inside="a timer on the machine, whose shutdown ends it",
    )

    def __init__(self, calls: Calls | None = None) -> None:
        self._calls = calls or Calls()
        # The instances of an attempt, by its token, once all have their links.
        self._equipped: dict[str, tuple[str, ...]] = {}
        # One for each region: to open one takes longer than to ask it.
        self._stores: dict[str, S3Store] = {}

    def account(self) -> str:
        """The credentials'."""
        return self._calls.account

    def arm_kill(self, intent: Intent) -> None:
        """Create the schedule; one of this name is this attempt's own."""
        names = self._names(intent.region)
        client = self._calls.client("scheduler", intent.region)

        with translated(f"aws {intent.region}"):
            try:
                answer = client.create_schedule(**kill_request(intent, names))
            except client.exceptions.ConflictException as error:
                answer = error.response
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        if "date" in headers:
            now = parsedate_to_datetime(headers["date"])
            refuse_fast_clock(intent, now, f"aws {intent.region}")

    def disarm_kill(self, intent: Intent) -> None:
        """Remove the schedule, and secrets that no machine is there to read any more."""
        client = self._calls.client("scheduler", intent.region)
        with translated(f"aws {intent.region}"), unless("ResourceNotFoundException"):
            client.delete_schedule(Name=intent.token)
        self.forget_secrets(intent)

    def create(self, intent: Intent, payload: Payload) -> Machine:
        """Lay the job into the bucket, ask for the machine, then hand it what opens the job."""
        # AWS makes all of a request's machines or none, and says no before it makes any.
        with refusals_make_nothing():
            script = start_script(intent, self._names(intent.region).bucket)
            request = self.request(intent, script)
        try:
            with refusals_make_nothing():
                self.send(intent, payload)
            machine = self._launch(intent, request)
        except (NoCapacity, NoQuota, Denied, Unfit):
            # There is no machine to fetch it. What cannot be removed now, the bucket's rule will.
            with suppress(CloudError):
                self._box(intent, lambda _: ()).discard()
            raise
        if machine.state in _STARTS:
            self.equip(intent, id_parts(machine.id)[1], payload.secrets)
        return machine

    def request(self, intent: Intent, script: str) -> dict[str, Any]:
        """What makes the machine, once its image, subnet and security group were looked up."""
        image = choose_image(self._calls, intent)
        subnet = subnet_of(self._calls, intent.region, intent.zone)
        names = self._names(intent.region)
        group = names.nodes_group if intent.nodes > 1 else names.closed_group
        closed = group_id(self._calls, intent.region, group, subnet.vpc_id)
        return launch_request(intent, names, image, subnet.id, closed, script)

    def zones_offering(self, region: str, instance_type: str) -> Sequence[str]:
        """Those that EC2 names."""
        return zones_offering(self._calls, region, instance_type)

    def spot_prices(self, region: str, instance_type: str) -> Mapping[str, Decimal]:
        """By the zones where it is sold."""
        return spot_prices(self._calls, region, instance_type)

    def price_paid(self, intent: Intent, began: datetime, ended: datetime) -> Decimal | None:
        """By the history of the zone it stood in."""
        return price_paid(self._calls, intent, began, ended)

    def regions_found(self) -> frozenset[str]:
        """Told by the buckets."""
        prefix = self._names("").bucket
        with translated("aws"):
            found = self._calls.listed(
                "s3", self._calls.home_region, "list_buckets", "Buckets", Prefix=prefix
            )
        names = [str(bucket["Name"]) for bucket in found]
        return frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    def how_to_set_up(self, region: str) -> str:
        """In words."""
        return f"`mlbroker init --cloud aws --region {region}` writes what the account needs once."

    def find(self, tags: Mapping[str, str]) -> Sequence[Machine]:
        """All attempts with these tags, in every region of the account."""
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
        filters = filters or [{"Name": "tag-key", "Values": [RUN_TAG]}]

        def look(region: str) -> list[Machine]:
            return self._described(region, Filters=filters)

        with ThreadPoolExecutor(max_workers=8) as pool:
            found = list(pool.map(look, self._calls.regions))
        return [machine for machines in found for machine in machines]

    def status(self, machine_id: str) -> Machine | None:
        """What EC2 says now."""
        region, ids = id_parts(machine_id)
        machines = self._described(region, InstanceIds=ids)
        return machines[0] if machines else None

    def terminate(self, machine_id: str) -> None:
        """Ask for the end of all of its machines."""
        region, ids = id_parts(machine_id)
        client = self._calls.client("ec2", region)
        with translated(f"aws {region}"), unless(*_NOT_FOUND):
            client.terminate_instances(InstanceIds=ids)

    def console_log(self, machine_id: str) -> str:
        """What EC2 kept of the machine's console, for an hour after its end."""
        region, ids = id_parts(machine_id)
        return joined_consoles({id_: self._console_of(region, id_) for id_ in ids})

    def _console_of(self, region: str, id_: str) -> str:
        client = self._calls.client("ec2", region)
        told: dict[str, Any] = {}
        with translated(f"aws {region}"), unless(*_NOT_FOUND):
            try:
                told = client.get_console_output(InstanceId=id_, Latest=True)
            except client.exceptions.ClientError as error:
                if code_of(error) in _NOT_FOUND:
                    raise
                # Machines before Nitro tell only what they said when they started.
                told = client.get_console_output(InstanceId=id_)
        return str(told.get("Output") or "")

    def lost_member(self, intent: Intent, unfinished: set[int]) -> End | None:
        """By the states that EC2 tells."""
        instances = self._instances(intent.region, Filters=_by_token(intent.token))
        return lost_member(instances, unfinished)

    def _names(self, region: str) -> Names:
        return Names(self._calls.account, region)

    def bucket(self, region: str) -> tuple["S3Store", str]:
        """One of S3."""
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        bucket = self._names(region).bucket
        if region not in self._stores:
            self._stores[region] = S3Store(
                bucket,
                region=region,
                endpoint=endpoint(),
                credential_provider=Boto3CredentialProvider(self._calls.session),
                client_options={"allow_http": endpoint() is not None, "timeout": "60s"},
                retry_config={"max_retries": 3, "retry_timeout": _RETRY_FOR},
            )
        return self._stores[region], f"bucket {bucket}"

    def box(self, intent: Intent) -> AwsBox:
        """The attempt's folder and those of its machines."""
        return self._box(intent, partial(self._machines_of, intent))

    def _machines_of(self, intent: Intent, box: AwsBox) -> Sequence[str]:
        """As written down; those whose launcher died first are equipped by whoever looks next."""
        machines = self._equipped.get(intent.token) or box.written_down()
        if intent.token not in self._equipped and not box.are_equipped(machines):
            for machine in self._described(intent.region, Filters=_by_token(intent.token)):
                machines = tuple(id_parts(machine.id)[1])
                if machine.state in _STARTS and len(machines) == intent.nodes:
                    box.equip(machines, {})
        if len(machines) == intent.nodes:
            self._equipped[intent.token] = machines
        return machines

    def equip(self, intent: Intent, machines: Sequence[str], secrets: Mapping[str, str]) -> None:
        """Give these machines what they wait for."""
        self._box(intent, lambda _: machines).equip(machines, secrets)
        self._equipped[intent.token] = tuple(machines)

    def hand_over(self, intent: Intent, secrets: Mapping[str, str]) -> str:
        """In the folder of each machine, which has one when it is there: `equip` lays them."""
        return SECRETS

    def forget_secrets(self, intent: Intent) -> None:
        """From the folders of the machines."""
        self.box(intent).forget_secrets()

    def _box(self, intent: Intent, look: Callable[[AwsBox], Sequence[str]]) -> AwsBox:
        store, _ = self.bucket(intent.region)
        names, hint = self._names(intent.region), self.how_to_set_up(intent.region)
        return AwsBox(store, names, intent, hint, look)

    def _launch(self, intent: Intent, request: dict[str, Any]) -> Machine:
        # One request at a time: the library would repeat what a full zone answers (HTTP 500), and
        # hide an answer that was lost behind the no that came after it.
        client = self._calls.client("ec2", intent.region, tries=1)
        made: list[dict[str, Any]] = []
        with refusals_make_nothing(), translated(f"aws {intent.region}"), unless(*_USED):
            made = client.run_instances(**request)["Instances"]
        if made:
            return machine_of(intent.region, made)
        # The token was used before: with another image, or for what has ended since.
        earlier = self._described(intent.region, Filters=_by_token(intent.token))
        if not earlier:
            raise Unclear("its token was used, and no machine shows", where=f"aws {intent.region}")
        return earlier[0]

    def _described(self, region: str, **wanted: Any) -> list[Machine]:
        return attempts_of(region, self._instances(region, **wanted))

    def _instances(self, region: str, **wanted: Any) -> list[dict[str, Any]]:
        client = self._calls.client("ec2", region)
        found: list[dict[str, Any]] = []
        with translated(f"aws {region}"), unless(*_NOT_FOUND):
            for page in client.get_paginator("describe_instances").paginate(**wanted):
                for reservation in page["Reservations"]:
                    found += reservation["Instances"]
        return found


def open_cloud(home: Path) -> Cloud:
    """The account is told by the credentials, not by the state folder."""
    return AwsCloud()


def _by_token(token: str) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{TOKEN_TAG}", "Values": [token]}]
