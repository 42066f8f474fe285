import math

import numpy as np
import pytest

from mlbroker.profiles.transfer.space import encode, family


def test_columns_are_standardised_logs_and_constants_say_nothing() -> None:
    space = encode({"vcpus": [2, 4, 8], "nodes": [1, 1, 1]}, ["", "", ""])
    assert space.x.shape == (3, 1)
    assert np.allclose(space.x.mean(0), 0)
    assert np.allclose(space.x[2] - space.x[1], space.x[1] - space.x[0])


def test_a_fact_given_twice_counts_once() -> None:
    assert encode({"gib": [2, 4, 8], "mib": [2048, 4096, 8192]}, [""] * 3).x.shape == (3, 1)


def test_zero_is_no_small_number() -> None:
    space = encode({"gpus": [0, 0, 1, 8]}, [""] * 4)
    has, count = space.x.T[np.argsort([len(set(c)) for c in space.x.T])]
    assert has[0] == has[1] < has[2] == has[3]
    assert count[2] < count[3]


def test_the_unknown_is_in_the_middle() -> None:
    space = encode({"ghz": [2.0, math.nan, 4.0]}, [""] * 3)
    assert space.x[1, 0] == 0


def test_without_features_nothing_breaks() -> None:
    space = encode({}, ["a", "a", ""])
    assert space.x.shape == (3, 0)
    assert space.kind[0] == space.kind[1] != space.kind[2]


def test_nameless_configurations_are_alike_to_nobody() -> None:
    assert len(set(encode({}, ["", "", ""]).kind.tolist())) == 3


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("c8a.medium", "c8a"),
        ("n2-standard-8", "n2-standard"),
        ("a2-highgpu-1g", "a2-highgpu"),
        ("Standard_D8s_v5", "Standard_Ds_v5"),
        ("cx22", "cx22"),
        ("", ""),
    ],
)
def test_family_is_the_type_without_its_size(kind: str, expected: str) -> None:
    assert family(kind) == expected


def test_capacity_is_what_things_must_fit_in() -> None:
    columns = {"memory_gib": [1, 2, 4], "gpu_gb_per_s": [3, 1, 2], "nodes": [4, 1, 2]}
    space = encode(columns, [""] * 3)
    assert len(space.capacity) == 2


def test_a_data_sheet_goes_before_features() -> None:
    given = encode({"vcpus": [2, 4, 8]}, [""] * 3, [3.0, math.nan, 1.0]).expected
    assert given.tolist() == [1.0, 0.0, -1.0]
    guessed = encode({"vcpus": [2, 4, 8]}, [""] * 3).expected
    assert guessed[0] > guessed[1] > guessed[2]


def test_a_gpu_is_expected_to_help_by_whatever_column_tells_of_it() -> None:
    columns = {"vcpus": [4, 4, 4], "gpus": [0, 0, 1], "gpu_memory_gib": [0, 3, 16]}
    whole, cut, full = encode(columns, [""] * 3).expected.tolist()
    assert whole - cut == pytest.approx(math.log(8))
    assert full == pytest.approx(cut)


def test_among_few_alike_machines_a_factor_of_two_is_no_world_apart() -> None:
    few = encode({"vcpus": [2, 2, 4]}, [""] * 3).x[:, 0]
    assert few[2] - few[0] == pytest.approx(1)
    many = encode({"vcpus": [1, 8, 64]}, [""] * 3).x[:, 0]
    assert many.std() == pytest.approx(1)
