"""AWS: a machine of EC2 for each attempt, told everything through the user's own bucket.

The kill switch outside is set before the machine exists: a one-time schedule that lets Systems
Manager end whatever carries the attempt's tag. The one inside is the first line of its script.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlbroker.broker.clouds.aws.calls import Calls, code_of, endpoint, translated
from mlbroker.broker.clouds.aws.images import choose_image
from mlbroker.broker.clouds.aws.machines import attempts_of, lost_member, machine_of
from mlbroker.broker.clouds.aws.names import RUN_TAG, TOKEN_TAG, Names, secrets_path
from mlbroker.broker.clouds.aws.network import group_id, subnet_of, zones_offering
from mlbroker.broker.clouds.aws.request import kill_request, launch_request
from mlbroker.broker.clouds.interface import (
    Cloud,
    Denied,
    Intent,
    Machine,
    NoCapacity,
    NoQuota,
    Payload,
    Unclear,
    refusals_make_nothing,
)
from mlbroker.broker.clouds.rented import (
    RentedCloud,
    id_parts,
    joined_consoles,
    refuse_fast_clock,
    rented_traits,
    start_script,
)
from mlbroker.broker.clouds.user_data import user_data
from mlbroker.broker.errors import CloudError
from mlbroker.broker.guest.bundle import guest_program

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")

# The scheduler keeps to the minute, Systems Manager needs some seconds for each step.
KILL_SLACK_S = 180.0
_RETRY_FOR = timedelta(seconds=30)
_USED = ("IdempotentParameterMismatch", "IdempotentInstanceTerminated")
_NOT_FOUND = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")


class AwsCloud(RentedCloud):
    """A machine's id is `REGION/i-…`, or `REGION/i-…+i-…` for a run of several machines."""

    traits = rented_traits(
        KILL_SLACK_S,
        outside="a one-time EventBridge schedule that lets Systems Manager end the machine",
        inside="a timer on the machine, whose shutdown ends it",
    )

    def __init__(self, calls: Calls | None = None) -> None:
        self._calls = calls or Calls()

    def arm_kill(self, intent: Intent) -> None:
        """Create the schedule; one of this name is this attempt's own."""
        names = self._names(intent.region)
        client = self._calls.client("scheduler", intent.region)

        def create() -> dict[str, Any]:
            try:
                answer = client.create_schedule(**kill_request(intent, names))
            except client.exceptions.ConflictException as error:
                answer = error.response
            return dict(answer["ResponseMetadata"]["HTTPHeaders"])

        headers = self._asked(intent.region, create)
        if "date" in headers:
            now = parsedate_to_datetime(headers["date"])
            refuse_fast_clock(intent, now, f"aws {intent.region}")

    def disarm_kill(self, intent: Intent) -> None:
        """Remove the schedule, and secrets that no machine is there to read any more."""
        client = self._calls.client("scheduler", intent.region)

        def delete() -> None:
            try:
                client.delete_schedule(Name=intent.token)
            except client.exceptions.ResourceNotFoundException:
                return

        self._asked(intent.region, delete)
        self.forget_secrets(intent)

    def create(self, intent: Intent, payload: Payload) -> Machine:
        """Lay the job into the bucket and its secrets beside it, then ask for the machine."""
        program = guest_program()
        # AWS makes all of a request's machines or none, and says no before it makes any.
        with refusals_make_nothing():
            request = self._request(intent, program)
        try:
            with refusals_make_nothing():
                self.send(intent, payload, program)
            return self._launch(intent, request)
        except (NoCapacity, NoQuota, Denied):
            # There is no machine to fetch it. What cannot be removed now, the bucket's rule will.
            with suppress(CloudError):
                self.discard(intent)
            raise

    def _request(self, intent: Intent, program: bytes) -> dict[str, Any]:
        image = choose_image(
            self._calls, intent.region, intent.instance_type, intent.image_id, intent.disk_gb
        )
        subnet = subnet_of(self._calls, intent.region, intent.zone)
        names = self._names(intent.region)
        group = names.nodes_group if intent.nodes > 1 else names.closed_group
        return launch_request(
            intent,
            names,
            image_id=image.id,
            root_device=image.root_device,
            disk_gb=intent.disk_gb,
            subnet_id=subnet.id,
            group_id=group_id(self._calls, intent.region, group, subnet.vpc_id),
            user_data=start_script(user_data, intent, names.bucket, program),
        )

    def zones_offering(self, region: str, instance_type: str) -> Sequence[str]:
        """Those that EC2 names."""
        return zones_offering(self._calls, region, instance_type)

    def regions_found(self) -> frozenset[str]:
        """Told by the buckets."""
        prefix = self._names("").bucket
        client = self._calls.client("s3", self._calls.home_region)
        answer = self._asked("", lambda: client.list_buckets(Prefix=prefix))
        names = [str(bucket["Name"]) for bucket in answer["Buckets"]]
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

        def end() -> None:
            try:
                client.terminate_instances(InstanceIds=ids)
            except client.exceptions.ClientError as error:
                if code_of(error) not in _NOT_FOUND:
                    raise

        self._asked(region, end)

    def console_log(self, machine_id: str) -> str:
        """What EC2 kept of the machine's console, for an hour after its end."""
        region, ids = id_parts(machine_id)
        client = self._calls.client("ec2", region)

        def look(id_: str) -> str:
            try:
                told = client.get_console_output(InstanceId=id_, Latest=True)
            except client.exceptions.ClientError as error:
                if code_of(error) in _NOT_FOUND:
                    return ""
                # Machines before Nitro tell only what they said when they started.
                told = client.get_console_output(InstanceId=id_)
            return str(told.get("Output") or "")

        return joined_consoles({id_: self._asked(region, partial(look, id_)) for id_ in ids})

    def lost_member(self, intent: Intent, unfinished: set[int]) -> Mapping[str, Any] | None:
        """By the states that EC2 tells."""
        instances = self._instances(intent.region, Filters=_by_token(intent.token))
        return lost_member(instances, unfinished)

    def _names(self, region: str) -> Names:
        return Names(self._calls.account, region)

    def _asked(self, region: str, call: Callable[[], T]) -> T:
        with translated(f"aws {region}"):
            return call()

    def bucket(self, region: str) -> tuple["ObjectStore", str]:
        """One of S3."""
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        bucket = self._names(region).bucket
        store = S3Store(
            bucket,
            region=region,
            endpoint=endpoint(),
            credential_provider=Boto3CredentialProvider(self._calls.session),
            client_options={"allow_http": endpoint() is not None, "timeout": "60s"},
            retry_config={"max_retries": 3, "retry_timeout": _RETRY_FOR},
        )
        return store, f"bucket {bucket}"

    def hand_over(self, intent: Intent, secrets: Mapping[str, str]) -> str:
        """In the parameter store."""
        path = secrets_path(intent.token)
        ssm = self._calls.client("ssm", intent.region)
        with translated(f"aws {intent.region}"):
            for name, value in secrets.items():
                ssm.put_parameter(
                    Name=f"{path}/{name}", Value=value, Type="SecureString", Overwrite=True
                )
        return path

    def forget_secrets(self, intent: Intent) -> None:
        """From the parameter store."""
        path = secrets_path(intent.token)
        ssm = self._calls.client("ssm", intent.region)
        kept = self._asked(intent.region, lambda: ssm.get_parameters_by_path(Path=path))
        names = [parameter["Name"] for parameter in kept["Parameters"]]
        if names:
            self._asked(intent.region, lambda: ssm.delete_parameters(Names=names))

    def _launch(self, intent: Intent, request: dict[str, Any]) -> Machine:
        # One request at a time: the library would repeat what a full zone answers (HTTP 500), and
        # hide an answer that was lost behind the no that came after it.
        client = self._calls.client("ec2", intent.region, tries=1)

        def launch() -> Machine | None:
            try:
                answer = client.run_instances(**request)
            except client.exceptions.ClientError as error:
                if code_of(error) in _USED:
                    return None
                raise
            return machine_of(intent.region, answer["Instances"])

        with refusals_make_nothing():
            made = self._asked(intent.region, launch)
        if made is not None:
            return made
        # The token was used before: with another image, or for what has ended since.
        earlier = self._described(intent.region, Filters=_by_token(intent.token))
        if not earlier:
            raise Unclear("its token was used, and no machine shows", where=f"aws {intent.region}")
        return earlier[0]

    def _described(self, region: str, **wanted: Any) -> list[Machine]:
        return attempts_of(region, self._instances(region, **wanted))

    def _instances(self, region: str, **wanted: Any) -> list[dict[str, Any]]:
        client = self._calls.client("ec2", region)

        def describe() -> list[dict[str, Any]]:
            try:
                pages = client.get_paginator("describe_instances").paginate(**wanted)
                return [
                    instance
                    for page in pages
                    for reservation in page["Reservations"]
                    for instance in reservation["Instances"]
                ]
            except client.exceptions.ClientError as error:
                if code_of(error) in _NOT_FOUND:
                    return []
                raise

        return self._asked(region, describe)


def open_cloud(home: Path) -> Cloud:
    """The account is told by the credentials, not by the state folder."""
    return AwsCloud()


def _by_token(token: str) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{TOKEN_TAG}", "Values": [token]}]
