"""Every way mlbroker ends badly, with its exit code.

MlbrokerError            1   internal or cloud failure
├── CloudError           1   a vendor said no, or did not answer
├── InputError           2   bad input or usage: what, where, and what to do
├── RefusedError         3   a budget or a policy forbids it
├── NothingFeasible      4   no candidate meets needs and deadline
├── ThresholdCrossed     5   a CI threshold was crossed
├── JobFailed          100   the user's job itself failed
└── Interrupted        130   the user pressed Ctrl-C; everything is stopped or still capped
"""


class MlbrokerError(Exception):
    """Base of all expected failures: `what` happened, `where`, and what to do (`hint`)."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.hint}" if self.hint else text


class CloudError(MlbrokerError):
    """A vendor said no, or did not answer.

    `made_nothing`: for certain, nothing came of what was asked, and nothing will.
    """

    made_nothing = False


class InputError(MlbrokerError):
    """Bad input or usage."""

    exit_code = 2


class RefusedError(MlbrokerError):
    """A budget or a policy forbids it; nothing was launched or charged beyond it."""

    exit_code = 3


class NothingFeasible(MlbrokerError):
    """No candidate meets needs, deadline and budget."""

    exit_code = 4


class ThresholdCrossed(MlbrokerError):
    """A CI threshold was crossed."""

    exit_code = 5


class JobFailed(MlbrokerError):
    """The user's job itself failed; its own exit code is in the JSON and the ledger."""

    exit_code = 100


class Interrupted(MlbrokerError):
    """The user interrupted; everything is safely stopped or still capped."""

    exit_code = 130
