"""Each run's machine may touch its own folder, its own secrets and itself, and nothing of others.

The loopback clouds evaluate the very rights that the set-up writes; the machines of these tests
ask with their own tokens.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from typing import Any

import obstore
import pytest
from tests.support.borders import Borders, Neighbour
from tests.support.cloud_runs import CloudRuns
from tests.support.strict import StrictCloud
from tests.support.vendors import DELETING, Vendor, vendor_named

from mlbroker.broker.clouds.interface import Denied, Intent, NoQuota, Payload, Unclear
from mlbroker.broker.clouds.seats import LEASES, SEATS, SeatedCloud

JOB = Payload({"command": "true"}, secrets={"HF_TOKEN": "geheim-4711"})
Place = Callable[..., Intent]


@pytest.fixture(scope="module", params=DELETING)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return vendor_named(request.param)


@pytest.fixture(scope="module")
def borders(vendor: Vendor) -> Borders:
    found: Borders = import_module(f"tests.support.{vendor.name}.borders").BORDERS
    return found


@pytest.fixture
def place(vendor: Vendor, world: StrictCloud) -> Place:
    """An intent for a run of this name."""
    return lambda run_id, **changes: vendor.intent(world, run_id, **changes)


@pytest.fixture
def again(vendor: Vendor, calls: Any) -> Callable[[], SeatedCloud]:
    """The same cloud as another process sees it."""
    return lambda: vendor.cloud(calls)


def standing(world: StrictCloud, cloud: SeatedCloud, intent: Intent) -> Neighbour:
    cloud.arm_kill(intent)
    cloud.create(intent, JOB)
    seat = cloud.seat(intent)
    assert seat is not None
    (vm,) = world.vms(intent.token)
    return Neighbour(intent, seat, vm)


def test_a_machine_may_touch_its_own_run_alone(
    borders: Borders, world: StrictCloud, cloud: SeatedCloud, run_id: str, place: Place
) -> None:
    world.guest.job_s = None  # type: ignore[attr-defined]
    region, zone = borders.far
    own, other, far = (
        standing(world, cloud, intent)
        for intent in (
            place(f"{run_id}-a"),
            place(f"{run_id}-b"),
            # Seats of another region have the same numbers.
            place(f"{run_id}-c", region=region, zone=zone),
        )
    )
    assert (own.seat.number, other.seat.number, far.seat.number) == ("00", "01", "00")
    world.clock.advance(60)
    files = ("0/report.json", "guest.pyz", "spec.json")
    before = [world.get_object(one.vm, name) for one in (other, far) for name in files]
    assert all(before)
    for neighbour in (other, far):
        for what, ask in borders.own(neighbour).items():
            assert ask.status(world, own.vm) == 403, what
    for neighbour in (own, other, far):
        for what, ask in borders.nobodys(neighbour).items():
            assert ask.status(world, own.vm) == 403, what
            assert ask.status(world, own.vm, "guest-of-nobody-{}") in (401, 403), what
    assert [world.get_object(one.vm, name) for one in (other, far) for name in files] == before
    assert len(world.secrets()) == 3
    assert (other.vm.ends_at, far.vm.ends_at) == (None, None)
    # The same it may do to itself.
    for what, ask in borders.own(own).items():
        assert ask.status(world, own.vm) in (200, 201, 202, 204), what
    assert own.vm.ends_at is not None
    for neighbour in (own, other, far):
        cloud.terminate(cloud.find(neighbour.intent.tags)[0].id)
        cloud.discard(neighbour.intent)


def test_a_seat_is_the_attempts_until_it_is_discarded(
    cloud: SeatedCloud,
    world: StrictCloud,
    again: Callable[[], SeatedCloud],
    run_id: str,
    place: Place,
) -> None:
    first, second, third = (place(f"{run_id}-{number}") for number in range(3))
    seat = cloud.take_seat(first)
    assert (seat.number, cloud.take_seat(first)) == ("00", seat)
    assert cloud.take_seat(second).number == "01"
    # Another process is told the same.
    later = again()
    assert later.seat(first) == later.take_seat(first) == seat
    cloud.discard(first)
    assert cloud.seat(first) is None
    # They go round: what took a token along finds the next one late, and under another name.
    assert [cloud.take_seat(place(f"{run_id}-x{n}")).number for n in range(2, 16)] == list(
        SEATS[2:]
    )
    again_lent = cloud.take_seat(third)
    assert again_lent.number == "00"
    assert again_lent.nonce != seat.nonce
    # A late look at the first, by whoever still remembers, touches nothing of the third.
    cloud.send(third, JOB)
    later.stop_job(first, "late")
    later.discard(first)
    assert cloud.seat(third) == again().seat(third) == again_lent
    assert [key for key in world.stored() if first.token in key and "/00/" in key] == []
    assert f"{again_lent.folder}/spec.json" in world.stored()
    assert f"{again_lent.folder}/stop" not in world.stored()


def test_when_all_seats_are_taken_it_is_said_by_whom(
    cloud: SeatedCloud, world: StrictCloud, run_id: str, place: Place
) -> None:
    for number in range(len(SEATS)):
        cloud.take_seat(place(f"{run_id}-{number}"))
    late = place(f"{run_id}-late")
    with pytest.raises(NoQuota, match=f"mlb-{run_id}-0-1") as refused:
        cloud.create(late, JOB)
    assert refused.value.made_nothing
    assert "reconcile" in (refused.value.hint or "")
    assert world.vms(late.token) == []


def test_a_seat_whose_time_is_over_is_lent_again_and_found_empty(
    cloud: SeatedCloud, world: StrictCloud, run_id: str, place: Place
) -> None:
    old = [place(f"{run_id}-{number}") for number in range(len(SEATS))]
    for intent in old:
        cloud.take_seat(intent)
    cloud.send(old[0], JOB)
    soon = old[0].kill_at + timedelta(days=29)
    with pytest.raises(NoQuota):
        cloud.take_seat(place(f"{run_id}-x", intended_at=soon))
    late = old[0].kill_at + timedelta(days=31)
    new = place(f"{run_id}-y", intended_at=late, kill_at=late + timedelta(hours=1))
    assert cloud.take_seat(new).number == "00"
    assert [key for key in world.stored() if old[0].token in key] == []
    assert [name for name in world.secrets() if old[0].token in name] == []


def test_many_who_launch_at_once_have_each_their_own(
    cloud: SeatedCloud,
    again: Callable[[], SeatedCloud],
    run_id: str,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlbroker.broker.clouds.seats._LONGEST_PAUSE_S", 0.01)
    wanted = [place(f"{run_id}-{number}") for number in range(8)]
    # Each is asked for twice, as by a process that carries on where another seems to be dead.
    with ThreadPoolExecutor(8) as pool:
        seats = list(pool.map(lambda intent: again().take_seat(intent), wanted + wanted))
    assert seats[:8] == seats[8:]
    assert len({seat.number for seat in seats}) == 8
    assert len(cloud.leases(wanted[0].region)) == 8


@pytest.mark.parametrize("lost", ["lost_before", "lost_after"])
def test_a_lost_answer_takes_and_frees_no_second_seat(
    cloud: SeatedCloud, borders: Borders, world: StrictCloud, run_id: str, place: Place, lost: str
) -> None:
    wanted = place(run_id)
    for change in (cloud.take_seat, cloud.discard):
        getattr(world.faults, lost)[borders.writes] = 1
        change(wanted)
        assert getattr(world.faults, lost)[borders.writes] == 0
    assert cloud.leases(wanted.region) == {}


def test_a_bucket_that_never_answers_is_unclear(
    cloud: SeatedCloud, borders: Borders, world: StrictCloud, run_id: str, place: Place
) -> None:
    world.faults.lost_before[borders.writes] = 100
    with pytest.raises(Unclear):
        cloud.take_seat(place(run_id))


def test_leases_that_are_none_of_ours_are_refused(
    cloud: SeatedCloud, run_id: str, place: Place
) -> None:
    wanted = place(run_id)
    store, _ = cloud.bucket(wanted.region)
    for text in ("", "[]", "{}", '{"seats": {"00": 1}, "last": ""}',
                 '{"seats": {"00": ["a", "b", 1e400]}, "last": ""}',
                 '{"seats": {"00": ["a", "b", "c"]}, "last": ""}'):  # fmt: skip
        obstore.put(store, LEASES, text.encode())
        with pytest.raises(Denied, match="not what mlbroker wrote") as refused:
            cloud.create(wanted, JOB)
        assert refused.value.made_nothing
    obstore.delete(store, LEASES)


def test_a_run_gives_back_every_seat_it_had(
    runs: CloudRuns, borders: Borders, world: StrictCloud, run_id: str
) -> None:
    # No room in the first place: an attempt that made nothing gives its seat back at once.
    world.sell_out(borders.sold_out(runs.candidates[0]))
    run = runs.launch(run_id)
    assert len(run.attempts) > 1
    for region in {option.region for option in runs.candidates}:
        assert runs.cloud.leases(region) == {}
    assert [key for key in world.stored() if run_id in key] == []


def test_a_dead_clients_seat_is_freed_by_reconcile(
    runs: CloudRuns, world: StrictCloud, run_id: str
) -> None:
    runs.reserve(run_id)
    driver = runs.driver(run_id, {})
    while driver.advance(run_id).state != "created":
        pass
    assert len(runs.cloud.leases(runs.candidates[0].region)) == 1
    runs.wind_up()
    assert runs.cloud.leases(runs.candidates[0].region) == {}
