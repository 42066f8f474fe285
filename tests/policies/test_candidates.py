"""Which machines a job may be planned on at all."""

import pytest

from mlbroker.policies.candidates import Filters, fitting
from mlbroker.policies.quote import Reason
from mlbroker.pricing.book import TypeEntry
from mlbroker.pricing.offer import Hardware, InstanceType
from mlbroker.profiles.job import Job


@pytest.mark.parametrize("cloud", ["local", "ssh"])
def test_a_run_has_one_machine_of_the_users_own(cloud: str) -> None:
    kinds = [
        TypeEntry(number, number, InstanceType(at, "box", Hardware(4, 16, "x86_64")))
        for number, at in enumerate((cloud, "aws"))
    ]
    one, none = fitting(Job("j", "true"), kinds, [], Filters())
    assert ([fit.type.cloud for fit in one], none) == ([cloud, "aws"], [])
    several, refused = fitting(Job("j", "true", num_nodes=3), kinds, [], Filters())
    assert [fit.type.cloud for fit in several] == ["aws"]
    assert {(each.type.cloud, each.reason) for each in refused} == {(cloud, Reason.NEEDS_NOT_MET)}
    assert refused[0].detail == "a run has 1 of your own, not 3"
