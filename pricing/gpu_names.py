"""The names people give accelerators, and the price book's name for each."""

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
    "T4": (),
    "T4G": (),
    "A10": (),
    "A10G": (),
    "A100-40GB": ("A100",),
    "A100-80GB": ("A100-80GB-SXM",),
    "L4": (),
    "L40S": (),
    "H100": ("H100-80GB", "H100-SXM", "H100-MEGA-80GB", "H100-MEGA"),
    "H100-NVL": ("H100NVL",),
    "H200": ("H200-141GB", "H200-SXM"),
    "B200": (),
    "B300": (),
    "GB200": (),
    "RTXPRO6000": ("RTX-PRO-6000", "RTXPRO-6000", "RTXPRO6000-SE"),
    "RTXPRO4500": ("RTX-PRO-4500", "RTXPRO-4500"),
    "RadeonV520": ("Radeon Pro V520", "V520"),
    "MI25": ("Radeon MI25",),
    "V620": ("Radeon Pro V620",),
    "V710": ("Radeon Pro V710",),
    "MI300X": (),
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


def gpu_model(name: str) -> str | None:
    """The price book's model for `name` in any case (`a100` is `A100-40GB`), or None."""
    return _MODEL_OF.get(name.strip().lower())
