"""An attempt's folder in S3, and beside it the folder of each machine, which that one alone opens.

All machines of a region have one role. Its policy (roles.yaml) grants
`machines/${ec2:SourceInstanceARN}/*`: AWS puts in the instance that the credentials were issued to,
in requests to every service, so nothing of IAM is made for a run. Sources: IAM user guide, "AWS
global condition context keys" and "Variables and tags" (a condition key of one value may stand in
`Resource`); AWS's own policy AWSElasticDisasterRecoveryEc2InstancePolicy uses it the same way.

An instance has no name before it exists. So the attempt's files are laid into `runs/TOKEN` before
the launch, where no machine may go, and each machine is then handed links to read them: signed
with the launcher's own right, and good for an hour. The machine waits for them (guest.py).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from mlbroker.broker.clouds.aws.guest import LINKS, SECRETS
from mlbroker.broker.clouds.aws.names import Names
from mlbroker.broker.clouds.bucket import BucketBox, run_folder
from mlbroker.broker.clouds.interface import Intent
from mlbroker.broker.guest import box as files

if TYPE_CHECKING:
    from obstore.store import S3Store

# A machine reads them while it starts.
READ_WITHIN = timedelta(hours=1)
# S3 lets no link live longer.
LONGEST_LINK = timedelta(days=7)
# In the attempt's folder: its instances by rank, as only the launching side can write them down.
MACHINES = "machines.json"
_AT_MOST = 1 << 20
_SHARED = ("guest.pyz", "spec.json", files.BUNDLE, files.RESTORE)


class AwsBox(BucketBox):
    """`look` finds the attempt's instances, by rank, where they have to be known."""

    def __init__(
        self,
        store: "S3Store",
        names: Names,
        intent: Intent,
        hint: str,
        look: Callable[["AwsBox"], Sequence[str]],
    ) -> None:
        super().__init__(store, f"bucket {names.bucket}", run_folder(intent.token), hint)
        self._s3 = store
        self._names = names
        self._intent = intent
        self._look = look

    @cached_property
    def machines(self) -> tuple[str, ...]:
        """The attempt's instances by rank; empty while none is known."""
        return tuple(self._look(self))

    def written_down(self) -> tuple[str, ...]:
        """The attempt's instances, once they were given anything."""
        found = self._get(MACHINES, _AT_MOST)
        return tuple(json.loads(found)["machines"]) if found else ()

    def are_equipped(self, machines: Sequence[str]) -> bool:
        """Whether all of them have their links."""
        import obstore

        with self._errors():
            try:
                obstore.head(self._store, self._own(machines[-1], LINKS))
            except (FileNotFoundError, IndexError):
                return False
        return True

    def equip(self, machines: Sequence[str], secrets: Mapping[str, str]) -> None:
        """Give them their secrets and their links; whoever has links is written down."""
        self.machines = tuple(machines)
        with self._errors():
            if secrets:
                for machine in machines:
                    self._lay(self._own(machine, SECRETS), secrets)
            self._lay(self._key(MACHINES), {"machines": machines})
            for rank, machine in enumerate(machines):
                self._lay(self._own(machine, LINKS), self._links(rank))

    def forget_secrets(self) -> None:
        """Those that no machine removed itself."""
        import obstore

        with self._errors():
            for machine in self.machines:
                obstore.delete(self._store, self._own(machine, SECRETS))

    def ask_to_stop(self, why: str) -> None:
        """Leave the request where each machine looks for it."""
        import obstore

        with self._errors():
            for machine in self.machines:
                obstore.put(self._store, self._own(machine, files.STOP), why.encode())

    def discard(self) -> None:
        """Remove the folders; the one that names the others goes last."""
        for machine in self.machines:
            self._empty(self._names.own_folder(machine))
        super().discard()

    def _links(self, rank: int) -> dict[str, object]:
        """To read what the attempt's machines share, and the others' addresses; to stop those."""
        others = {r: machine for r, machine in enumerate(self.machines) if r != rank}
        keys = {name: self._key(name) for name in _SHARED}
        keys |= {f"{r}/address": self._own(m, f"{r}/address") for r, m in others.items()}
        read = self._signed("GET", list(keys.values()), READ_WITHIN)
        lifetime = min(LONGEST_LINK, self._intent.kill_at - self._intent.intended_at)
        stops = [self._own(machine, files.STOP) for machine in others.values()]
        return {
            "read": dict(zip(keys, read, strict=True)),
            "stop": self._signed("PUT", stops, lifetime),
        }

    def _signed(
        self, method: Literal["GET", "PUT"], keys: list[str], good_for: timedelta
    ) -> list[str]:
        import obstore

        return list(obstore.sign(self._s3, method, keys, good_for)) if keys else []

    def _key(self, name: str) -> str:
        rank, slash, _ = name.partition("/")
        if slash and int(rank) < len(self.machines):
            return self._own(self.machines[int(rank)], name)
        return super()._key(name)

    def _own(self, machine: str, name: str) -> str:
        return f"{self._names.own_folder(machine)}/{name}"

    def _lay(self, key: str, document: Mapping[str, object]) -> None:
        import obstore

        obstore.put(self._store, key, json.dumps(document, sort_keys=True).encode())
