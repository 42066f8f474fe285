"""The names people give accelerators, and the price book's name for each."""

import re

# The price book's models, with the other names they go by (SkyPilot's and the vendors').
_ALIASES: dict[str, tuple[str, ...]] = {
    "K520": (),
    "M60": (),
    "K80": (),
    "P4": (),
    "P40": (),
    "P100": ("P100-16GB",),
    "V100-16GB": ("V100",),
    "V100-32GB": (),
    "T4": ("T4-16GB",),
    "T4G": (),
    "A10": ("A10-24GB",),
    "A10G": ("A10G-24GB",),
    "A100-40GB": ("A100",),
    "A100-80GB": ("A100-80GB-SXM",),
    "L4": ("L4-24GB",),
    "L40S": ("L40S-48GB",),
    "H100": ("H100-80GB", "H100-SXM", "H100-MEGA-80GB", "H100-MEGA", "H100-NVLINK"),
    "H100-NVL": ("H100NVL",),
    "H200": ("H200-141GB", "H200-SXM"),
    "B200": (),
    "B300": (),
    "GB200": (),
    "RTXPRO6000": ("RTX-PRO-6000", "RTXPRO-6000", "RTXPRO6000-SE", "RTXPRO6000S"),
    "RTXPRO4500": ("RTX-PRO-4500", "RTXPRO-4500"),
    "RadeonV520": ("Radeon Pro V520", "V520"),
    "MI25": ("Radeon MI25",),
    "V620": ("Radeon Pro V620",),
    "V710": ("Radeon Pro V710",),
    "MI300X": ("MI300",),
    "Gaudi1": ("Gaudi HL-205", "Gaudi"),
    "Inferentia1": ("Inferentia",),
    "Inferentia2": (),
    "Trainium1": ("Trainium",),
    "Trainium2": (),
    "QualcommAI100": ("Qualcomm AI 100", "AI100"),
}
# Accelerators that CUDA programs do not run on: a job has to be built for them.
NOT_CUDA = frozenset(
    {
        *("RadeonV520", "MI25", "V620", "V710", "MI300X"),
        *("Gaudi1", "Inferentia1", "Inferentia2", "Trainium1", "Trainium2", "QualcommAI100"),
    }
)
GPU_MODELS: tuple[str, ...] = tuple(_ALIASES)
_MODEL_OF = {
    name.lower(): model for model, aliases in _ALIASES.items() for name in (model, *aliases)
}
# Accelerators that exist and that no cloud of the book sells, as their makers name them: a node of
# one's own may have one. NVIDIA's GeForce, workstation and data-centre lines since Kepler, AMD's
# Instinct and Radeon, Intel's, Google's TPUs.
_UNSOLD = (
    r"(?:GTX|RTX)(?:7[5678]0|9[5678]0|10[5678]0|16[56]0|20[678]0|30[56789]0|40[56789]0|50[56789]0)"
    r"(?:TI|SUPER|TISUPER|S|D)?(?:\d+GB)?"
    r"|(?:RTX)?A(?:2|10M|16|30|40|400|800|1000|2000|4000|4500|5000|5500|6000)(?:-?\d+GB)?"
    r"|RTX(?:PRO)?(?:2000|3000|4000|4500|5000|5880|6000|8000)(?:ADA|BLACKWELL|WS|MAXQ)?"
    r"|TITAN(?:RTX|XP|X|V)|[KM](?:4|6|10|20|40|60|520|[2456]000)|P(?:6|[2456]000)|T10|T40|V100S?"
    r"|L2|L20|L40G?|GH200(?:480GB)?|GB300|A100X|B100|H20|H200NVL|H800|H100PCIE"
    r"|MI(?:50|60|100|210|250X?|300A|308X|325X|350X|355X)|RX\d{4}(?:XTX?|GRE)?"
    r"|GAUDI[23]|MAX1[15]\d0|ARC[AB]\d{3}|TPU(?:V\d|7)(?:P|E|X|LITE)?(?:POD)?(?:SLICE|DEVICE)?\d*"
)
# How a GPU is mounted, and what its memory is made of.
_FORM = re.compile(r"SXM\d?|(?<=A100)PCIE|(?<=V100)PCIE|HBM\d[AE]?|TENSORCOREGPU")
_MAKER = re.compile(r"^(?:NVIDIA|AMD|GEFORCE|TESLA|QUADRO|INSTINCT|RADEON|INTEL)+")

_MODEL_OF_PLAIN = {
    re.sub(r"[\s_-]", "", name).upper(): model
    for model, aliases in _ALIASES.items()
    for name in (model, *aliases)
}


def gpu_model(name: str) -> str | None:
    """The price book's model for `name` in any case (`a100` is `A100-40GB`), or None.

    Drivers and Kubernetes call them `NVIDIA-H100-80GB-HBM3`, Google Cloud `nvidia-tesla-t4`.
    """
    found = _MODEL_OF.get(name.strip().lower())
    return found or _MODEL_OF_PLAIN.get(_FORM.sub("", _plain(name)))


def _plain(name: str) -> str:
    return _MAKER.sub("", re.sub(r"[\s_-]", "", name).upper())


def unsold_model(name: str) -> str | None:
    """One spelling (`RTX4090`) of a model that exists but is not in the price book, or None."""
    plain = _plain(name)
    return plain if re.fullmatch(_UNSOLD, plain) else None
