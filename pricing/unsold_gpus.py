"""Accelerators that no cloud of the book sells, and the sold one that is most like each."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from mlbroker.pricing.gpu_names import NOT_CUDA
from mlbroker.pricing.offer import Gpu


class Figures(NamedTuple):
    """Of one chip: its memory, its dense FP16 or BF16 tensor peak, and its memory's bandwidth."""

    memory_gib: float
    tensor_tflops: float
    memory_bandwidth_gb_per_s: float


# From the makers' data sheets (nvidia.com, amd.com, cloud.google.com/tpu/docs/system-architecture),
# by the start of the names as `gpu_names.unsold_model` spells them; the longest that fits counts.
# Rounded, and good for one thing: to name the sold one that is nearest. Nothing is predicted here.
_FIGURES = {
    "RTX2080TI": Figures(11, 108, 616),
    "RTX3060": Figures(12, 51, 360),
    "RTX3070": Figures(8, 81, 448),
    "RTX3080": Figures(10, 119, 760),
    "RTX3090": Figures(24, 142, 936),
    "RTX4070": Figures(12, 117, 504),
    "RTX4080": Figures(16, 195, 717),
    "RTX4090": Figures(24, 330, 1008),
    "RTX5080": Figures(16, 225, 960),
    "RTX5090": Figures(32, 419, 1792),
    "TITANRTX": Figures(24, 130, 672),
    "TITANV": Figures(12, 110, 653),
    "A2": Figures(16, 18, 200),
    "A10M": Figures(20, 125, 333),
    "A16": Figures(16, 18, 200),
    "A30": Figures(24, 165, 933),
    "A40": Figures(48, 150, 696),
    "A800": Figures(80, 312, 2039),
    "RTXA4000": Figures(16, 77, 448),
    "RTXA4500": Figures(20, 95, 640),
    "RTXA5000": Figures(24, 111, 768),
    "RTXA6000": Figures(48, 155, 768),
    "A4000": Figures(16, 77, 448),
    "A4500": Figures(20, 95, 640),
    "A5000": Figures(24, 111, 768),
    "A6000": Figures(48, 155, 768),
    "RTX4000": Figures(8, 57, 416),
    "RTX4000ADA": Figures(20, 107, 360),
    "RTX5000": Figures(16, 89, 448),
    "RTX5000ADA": Figures(32, 261, 576),
    "RTX6000": Figures(24, 130, 672),
    "RTX6000ADA": Figures(48, 364, 960),
    "RTX8000": Figures(48, 130, 672),
    "L2": Figures(24, 97, 300),
    "L20": Figures(48, 120, 864),
    "L40": Figures(48, 181, 864),
    "H20": Figures(96, 148, 4000),
    "H800": Figures(80, 989, 3350),
    "H100PCIE": Figures(80, 756, 2000),
    "B100": Figures(192, 1750, 8000),
    "GH200": Figures(96, 989, 4000),
    "GB300": Figures(288, 2500, 8000),
    "MI100": Figures(32, 185, 1229),
    "MI210": Figures(64, 181, 1638),
    "MI250": Figures(128, 362, 3277),
    "MI325X": Figures(256, 1307, 6000),
    "MI350X": Figures(288, 2300, 8000),
    "GAUDI2": Figures(96, 432, 2450),
    "GAUDI3": Figures(128, 1835, 3700),
    "TPUV2": Figures(16, 46, 700),
    "TPUV3": Figures(32, 123, 900),
    "TPUV4": Figures(32, 275, 1200),
    "TPUV5E": Figures(16, 197, 819),
    "TPUV5LITE": Figures(16, 197, 819),
    "TPUV5P": Figures(95, 459, 2765),
    "TPUV6E": Figures(32, 918, 1640),
}


def nearest_sold(model: str, sold: Iterable[Gpu]) -> Gpu | None:
    """Of the `sold` ones that run CUDA, the most like `model` in memory and speed; None where too
    little is known of it. One with less memory may not hold the job, and counts as farther.
    """
    asked = figures_of(model)
    if asked is None:
        return None

    def distance(gpu: Gpu) -> float:
        memory = math.log2(gpu.memory_gib / asked.memory_gib)
        speed = math.log2(_speed(gpu) / _speed(asked))
        return abs(memory) + (1 if memory < -0.1 else 0) + abs(speed) / 2

    known = [gpu for gpu in sold if gpu.model not in NOT_CUDA and gpu.memory_gib and _speed(gpu)]
    return min(known, key=distance, default=None)


def figures_of(model: str) -> Figures | None:
    """What is known of an accelerator that is not sold."""
    names = [name for name in _FIGURES if model.startswith(name)]
    return _FIGURES[max(names, key=len)] if names else None


def _speed(gpu: Gpu | Figures) -> float:
    return math.sqrt((gpu.tensor_tflops or 0) * (gpu.memory_bandwidth_gb_per_s or 0))
