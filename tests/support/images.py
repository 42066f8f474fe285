"""Images that tell their label by one bright pixel, where examples look for theirs."""

from pathlib import Path

import numpy as np


def put_images(folder: Path, count: int) -> None:
    """So many of 784 pixels, of ten labels."""
    (folder / ".venv").mkdir()
    labels = np.arange(count) % 10
    images = np.random.default_rng(0).integers(0, 50, (count, 784), dtype=np.uint8)
    images[np.arange(count), labels] = 255
    np.savez(folder / ".venv" / "images.npz", images=images, labels=labels)
