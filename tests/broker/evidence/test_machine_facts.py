"""What an agent tells of its machine becomes hardware that the price book knows."""

import pytest

from mlbroker.broker.evidence.hardware import gpu_name, hardware


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("Tesla T4", "T4"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("Tesla V100-SXM2-16GB", "V100-16GB"),
        ("Tesla V100-SXM2-32GB", "V100-32GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTXPRO6000"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
    ],
)
def test_gpu_names_of_the_driver_become_those_of_the_price_book(told: str, name: str) -> None:
    assert gpu_name(told) == name


def test_fewer_cores_are_a_smaller_machine() -> None:
    told = {"vcpus": 8, "memory_gib": 31.4, "arch": "x86_64", "cpu": "EPYC", "gpus": []}
    assert hardware(told).vcpus == 8
    assert hardware(told, 2).vcpus == 2
    assert hardware(told).gpu is None
    gpus = [{"model": "NVIDIA L4", "memory_gib": 22.5}] * 2
    assert hardware({**told, "gpus": gpus}).gpu_memory_gib == 45
