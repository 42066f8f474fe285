"""The package imports under its public name from the source tree."""

from mlbroker.profiles.job import Job


def test_fingerprint_follows_what_decides_the_step_time() -> None:
    job = Job(name="a", command="python train.py")
    assert job.fingerprint() == Job(name="renamed", command="python train.py").fingerprint()
    assert job.fingerprint() != Job(name="a", command="python other.py").fingerprint()
