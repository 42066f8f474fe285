"""What stages may reserve: nobody is starved, and all together stay within what is left."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from mlbroker.policies.pipeline.shares import Need, shares

USD = st.integers(1, 10**9).map(lambda n: Decimal(n) / 10**6)
NEEDS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.builds(Need, USD, st.booleans()), min_size=1, max_size=8
)


@given(USD, NEEDS, st.data(), st.booleans())
def test_what_others_need_is_left_to_them(
    left: Decimal, needs: dict[str, Need], data: st.DataObject, at_work: bool
) -> None:
    ready = data.draw(st.lists(st.sampled_from(sorted(needs)), unique=True))
    found = shares(left, needs, ready, at_work=at_work)
    whole = sum((need.usd for need in needs.values()), Decimal(0))
    others = sum((need.usd for name, need in needs.items() if name not in found), Decimal(0))
    assert set(found) <= set(ready)
    if left < whole:
        assert sum(found.values()) <= left
        return
    assert sum(found.values()) + others <= left
    for name, usd in found.items():
        assert usd >= needs[name].usd
    assert {name for name in ready if needs[name].known} <= set(found)
    unknown = [name for name in found if not needs[name].known]
    assert len(unknown) == (0 if at_work else min(1, sum(not needs[n].known for n in ready)))


def test_a_stage_of_unknown_time_has_all_that_the_others_leave() -> None:
    needs = {
        "long": Need(Decimal("0.0001"), known=False),
        "other": Need(Decimal("0.0001"), known=False),
        "planned": Need(Decimal("0.01"), known=True),
    }
    found = shares(Decimal("0.05"), needs, ["long", "other", "planned"], at_work=False)
    assert found == {"long": Decimal("0.0399"), "planned": Decimal("0.01")}
    assert shares(Decimal("0.05"), needs, ["long"], at_work=True) == {}


def test_what_is_beyond_all_needs_is_shared_by_them() -> None:
    needs = {name: Need(Decimal(usd), known=True) for name, usd in (("a", 1), ("b", 3), ("c", 2))}
    assert shares(Decimal(10), needs, ["a", "b"], at_work=True) == {
        "a": Decimal(2),
        "b": Decimal(6),
    }
    assert shares(Decimal(3), needs, ["a"], at_work=False) == {"a": Decimal("0.5")}
