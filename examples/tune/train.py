"""A small neural network on handwritten digits, in numpy alone: one trial of a study.

What is tuned comes as environment variables. It tells its validation accuracy after each epoch,
once its checkpoint is saved, so that it can be paused there and go on later.
"""

import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
LEARNING_RATE = float(os.environ.get("LEARNING_RATE", "0.05"))
MOMENTUM = float(os.environ.get("MOMENTUM", "0.9"))
WEIGHT_DECAY = float(os.environ.get("WEIGHT_DECAY", "1e-4"))
WIDTH = int(os.environ.get("WIDTH", "64"))
ACTIVATION = os.environ.get("ACTIVATION", "relu")
EPOCHS = int(os.environ.get("EPOCHS", "81"))
CHECKPOINTS = os.environ.get("MLBROKER_CHECKPOINT_DIR")
BATCH = 50
TRAIN_IMAGES = 4000
PIXELS, DIGITS = 784, 10


def main():
    with np.load(HERE / ".venv" / "images.npz") as data:
        images, labels = (data["images"] / 255).astype(np.float32), data["labels"]
    train, test = slice(None, TRAIN_IMAGES), slice(TRAIN_IMAGES, None)
    network = Network(np.random.default_rng(1))
    first_epoch = network.resume()
    for epoch in range(first_epoch, EPOCHS):
        order = np.random.default_rng([2, epoch]).permutation(TRAIN_IMAGES)
        for batch in np.split(order, TRAIN_IMAGES // BATCH):
            network.learn(images[train][batch], labels[train][batch])
        accuracy = network.accuracy(images[test], labels[test])
        network.save(epoch + 1)
        print(f"::mlbroker metric={accuracy:.4f} at={epoch + 1}", flush=True)


class Network:
    """One hidden layer; each matrix ends with its bias row."""

    def __init__(self, rng):
        sizes = ((PIXELS, WIDTH), (WIDTH, DIGITS))
        self.weights = [
            np.vstack([rng.normal(0, fan_in**-0.5, (fan_in, fan_out)), np.zeros(fan_out)])
            for fan_in, fan_out in sizes
        ]
        self.weights = [weight.astype(np.float32) for weight in self.weights]
        self.moved = [np.zeros_like(weight) for weight in self.weights]

    def forward(self, images):
        first, second = self.weights
        inner = images @ first[:-1] + first[-1]
        hidden = np.tanh(inner) if ACTIVATION == "tanh" else np.maximum(inner, 0)
        return hidden, hidden @ second[:-1] + second[-1]

    def learn(self, images, labels):
        """One step of stochastic gradient descent on the cross-entropy of these images."""
        hidden, scores = self.forward(images)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = odds / odds.sum(axis=1, keepdims=True)
        error[np.arange(len(labels)), labels] -= 1
        error /= len(labels)
        slope = 1 - hidden**2 if ACTIVATION == "tanh" else hidden > 0
        inner_error = (error @ self.weights[1][:-1].T) * slope
        for number, (value, wrong) in enumerate(((images, inner_error), (hidden, error))):
            gradient = np.vstack([value.T @ wrong, wrong.sum(axis=0)])
            gradient += WEIGHT_DECAY * self.weights[number]
            self.moved[number] = MOMENTUM * self.moved[number] - LEARNING_RATE * gradient
            self.weights[number] += self.moved[number]

    def accuracy(self, images, labels):
        return (self.forward(images)[1].argmax(axis=1) == labels).mean()

    def resume(self):
        """Takes up the checkpoint of this trial, if there is one; the epoch to go on with."""
        if not CHECKPOINTS or not (path := Path(CHECKPOINTS, "network.npz")).exists():
            return 0
        with np.load(path) as saved:
            self.weights = [saved["weights0"], saved["weights1"]]
            self.moved = [saved["moved0"], saved["moved1"]]
            return int(saved["epoch"])

    def save(self, epoch):
        if not CHECKPOINTS:
            return
        state = {
            f"{kind}{number}": value
            for kind in ("weights", "moved")
            for number, value in enumerate(getattr(self, kind))
        }
        part = Path(CHECKPOINTS, "part.npz")
        part.parent.mkdir(parents=True, exist_ok=True)
        np.savez(part, epoch=epoch, **state)
        part.replace(Path(CHECKPOINTS, "network.npz"))


if __name__ == "__main__":
    main()
