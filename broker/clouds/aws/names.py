"""What the things are called that mlbroker uses in an account: the same in docs, set-up and runs.

Everything belongs to one region, so that a region can be set up, or given up, by itself.
"""

from typing import NamedTuple

from mlbroker.broker.clouds.aws.guest import own_folder

TERMINATE = "AWS-TerminateEC2Instance"


class Names(NamedTuple):
    """The set-up of one account and region."""

    account: str
    region: str

    @property
    def bucket(self) -> str:
        """Where jobs go in, and logs, checkpoints and outputs come out."""
        return f"mlbroker-{self.account}-{self.region}"

    @property
    def guest(self) -> str:
        """Role and instance profile of the machines.

        Before each machine had a folder of its own it was `mlbroker-guest-REGION`: an account that
        was set up for that has no such role, and says so before anything is launched.
        """
        return f"mlbroker-machine-{self.region}"

    @property
    def kill_role(self) -> str:
        """The role with which the scheduler ends machines."""
        return f"mlbroker-kill-{self.region}"

    @property
    def dead_letters(self) -> str:
        """The queue that keeps kills that could not be delivered."""
        return "mlbroker-kill-failed"

    @property
    def closed_group(self) -> str:
        """The security group of single machines: nothing comes in."""
        return "mlbroker"

    @property
    def nodes_group(self) -> str:
        """The security group of runs with several machines: they reach each other."""
        return "mlbroker-nodes"

    @property
    def kill_role_arn(self) -> str:
        """In full."""
        return f"arn:aws:iam::{self.account}:role/{self.kill_role}"

    @property
    def dead_letters_arn(self) -> str:
        """In full."""
        return f"arn:aws:sqs:{self.region}:{self.account}:{self.dead_letters}"

    def own_folder(self, machine: str) -> str:
        """Where an instance may read and write in the bucket, and no other instance."""
        return own_folder(self.account, self.region, machine)
