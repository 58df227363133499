#!/usr/bin/env python3
"""Trains `digits`, a convolutional classifier of handwritten digits, and writes it as ONNX.

Data: the 1,797 scans of 8 x 8 pixels that scikit-learn ships (`load_digits`), every fifth of a seeded permutation
held out. Training is plain NumPy with a fixed seed: about a minute on one core.

Input:   image          FP32  [batch, 1, 8, 8]  pixels 0 (paper) to 16 (ink); scaling is part of the graph
Outputs: probabilities  FP32  [batch, 10]
         label          INT64 [batch, 1]        the likeliest digit

Beside the model it writes `labels.txt` (what the classes are called), `held_out.json` (the scans it was not trained on) and `request.json` (one of
them as an inference request).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

SEED = 20
EPOCHS = 60
BATCH = 64
LEARNING_RATE = 2e-3
PIXEL_MAX = 16.0
NAMES = "zero one two three four five six seven eight nine".split()


class Conv:
    """3 x 3 convolution, padded to keep the size. NHWC inside, so that it is one matrix product."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int):
        scale = np.sqrt(2.0 / (9 * inputs))
        self.weight = rng.normal(0, scale, (9 * inputs, outputs)).astype(np.float32)
        self.bias = np.zeros(outputs, np.float32)

    def forward(self, x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        height, width = x.shape[1:3]
        windows = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        self.columns = np.concatenate(windows, axis=3)
        return self.columns @ self.weight + self.bias

    def backward(self, grad: np.ndarray) -> np.ndarray:
        count, height, width, outputs = grad.shape
        flat = grad.reshape(-1, outputs)
        self.grads = [self.columns.reshape(flat.shape[0], -1).T @ flat, flat.sum(0)]
        columns = np.split(grad @ self.weight.T, 9, axis=3)
        padded = np.zeros((count, height + 2, width + 2, columns[0].shape[3]), np.float32)
        for k, part in enumerate(columns):
            i, j = divmod(k, 3)
            padded[:, i : i + height, j : j + width] += part
        return padded[:, 1:-1, 1:-1]


class Dense:
    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int):
        self.weight = rng.normal(0, np.sqrt(2.0 / inputs), (inputs, outputs)).astype(np.float32)
        self.bias = np.zeros(outputs, np.float32)

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return x @ self.weight + self.bias

    def backward(self, grad: np.ndarray) -> np.ndarray:
        self.grads = [self.x.T @ grad, grad.sum(0)]
        return grad @ self.weight.T


class Relu:
    def forward(self, x: np.ndarray) -> np.ndarray:
        self.mask = x > 0
        return x * self.mask

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * self.mask


class MaxPool:
    """2 x 2, stride 2."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        count, height, width, channels = x.shape
        tiles = x.reshape(count, height // 2, 2, width // 2, 2, channels)
        best = tiles.max(axis=(2, 4))
        hit = tiles == best[:, :, None, :, None]
        self.share = hit / hit.sum(axis=(2, 4), keepdims=True)
        return best

    def backward(self, grad: np.ndarray) -> np.ndarray:
        spread = (grad[:, :, None, :, None] * self.share).astype(np.float32)
        count, height, _, width, _, channels = spread.shape
        return spread.reshape(count, 2 * height, 2 * width, channels)


class Flatten:
    """To ONNX's order (channels first), so that the exported graph needs no transposition."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        return x.transpose(0, 3, 1, 2).reshape(len(x), -1)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        count, height, width, channels = self.shape
        return grad.reshape(count, channels, height, width).transpose(0, 2, 3, 1)


class Network:
    def __init__(self, rng: np.random.Generator):
        self.conv1, self.conv2 = Conv(rng, 1, 16), Conv(rng, 16, 32)
        self.dense1, self.dense2 = Dense(rng, 512, 64), Dense(rng, 64, 10)
        self.layers = [self.conv1, Relu(), self.conv2, Relu(), MaxPool(), Flatten(), self.dense1, Relu(), self.dense2]
        self.trained = [self.conv1, self.conv2, self.dense1, self.dense2]
        self.moments = [[np.zeros_like(p) for p in (t.weight, t.bias) for _ in (1, 2)] for t in self.trained]
        self.step = 0

    def logits(self, x: np.ndarray) -> np.ndarray:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def learn(self, x: np.ndarray, labels: np.ndarray, rate: float) -> None:
        """One step of Adam on softmax cross-entropy with label smoothing of 0.05."""
        logits = self.logits(x)
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        target = np.full_like(probabilities, 0.005)
        target[np.arange(len(labels)), labels] += 0.95
        grad = ((probabilities - target) / len(labels)).astype(np.float32)
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
        self.step += 1
        for layer, (mw, vw, mb, vb) in zip(self.trained, self.moments):
            for parameter, g, m, v in [(layer.weight, layer.grads[0], mw, vw), (layer.bias, layer.grads[1], mb, vb)]:
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                unbiased = (m / (1 - 0.9**self.step)) / (np.sqrt(v / (1 - 0.999**self.step)) + 1e-8)
                parameter -= (rate * unbiased).astype(np.float32)


def split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scans and labels to train on, scans and labels held out. Scans are [n, 8, 8], whole numbers 0 to 16."""
    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    held_out, train = order[::5], np.delete(order, np.s_[::5])
    images = digits.images.astype(np.float32)
    return images[train], digits.target[train], images[held_out], digits.target[held_out]


def shifted(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Each scan moved by at most one pixel each way: the only augmentation."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    moves = rng.integers(0, 3, (len(images), 2))
    keep = rng.random(len(images)) < 0.4
    moves[keep] = 1
    return np.stack([image[i : i + 8, j : j + 8] for image, (i, j) in zip(padded, moves)])


def train(images: np.ndarray, labels: np.ndarray) -> Network:
    rng = np.random.default_rng(SEED)
    network = Network(rng)
    for epoch in range(EPOCHS):
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        order = rng.permutation(len(labels))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            x = shifted(rng, images[chosen])[..., None] / PIXEL_MAX
            network.learn(x.astype(np.float32), labels[chosen], rate)
        print(f"\rtraining: epoch {epoch + 1} of {EPOCHS}", end="", flush=True)
    print()
    return network


def export(network: Network) -> onnx.ModelProto:
    def conv_weight(layer: Conv) -> np.ndarray:
        return layer.weight.reshape(3, 3, -1, len(layer.bias)).transpose(3, 2, 0, 1)

    weights = {
        "scale": np.array(1 / PIXEL_MAX, np.float32),
        "conv1.weight": conv_weight(network.conv1),
        "conv1.bias": network.conv1.bias,
        "conv2.weight": conv_weight(network.conv2),
        "conv2.bias": network.conv2.bias,
        "dense1.weight": network.dense1.weight,
        "dense1.bias": network.dense1.bias,
        "dense2.weight": network.dense2.weight,
        "dense2.bias": network.dense2.bias,
    }
    node = helper.make_node
    nodes = [
        node("Mul", ["image", "scale"], ["scaled"]),
        node("Conv", ["scaled", "conv1.weight", "conv1.bias"], ["c1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "conv2.weight", "conv2.bias"], ["c2"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["c2"], ["r2"]),
        node("MaxPool", ["r2"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["pooled"], ["flat"], axis=1),
        node("Gemm", ["flat", "dense1.weight", "dense1.bias"], ["d1"]),
        node("Relu", ["d1"], ["r3"]),
        node("Gemm", ["r3", "dense2.weight", "dense2.bias"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
        node("ArgMax", ["logits"], ["label"], axis=1, keepdims=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        inputs=[helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        outputs=[
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["batch", 1]),
        ],
        initializer=[numpy_helper.from_array(np.ascontiguousarray(w), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def compact(values: list[int]) -> str:
    return json.dumps(values, separators=(",", ":"))


def write_samples(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    pixels = images.astype(int).reshape(len(images), -1).tolist()
    rows = ",\n".join(f"  {compact(row)}" for row in pixels)
    text = f'{{"shape": [1, 8, 8],\n "labels": {compact(labels.tolist())},\n "images": [\n{rows}\n]}}\n'
    (folder / "held_out.json").write_text(text)
    lines = ",\n".join(f"          {json.dumps(pixels[0][i : i + 8])[1:-1]}" for i in range(0, 64, 8))
    request = (
        '{\n  "inputs": [\n    {\n      "name": "image",\n      "datatype": "FP32",\n      "shape": [1, 1, 8, 8],\n'
        f'      "data": [\n{lines}\n      ]\n    }}\n  ]\n}}\n'
    )
    json.loads(request)
    (folder / "request.json").write_text(request)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in NAMES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="the model repository to write to")
    folder = parser.parse_args().out / "digits"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    images, labels, held_images, held_labels = split()
    model = export(train(images, labels))
    onnx.checker.check_model(model, full_check=True)
    path = folder / "1" / "model.onnx"
    onnx.save(model, path)
    write_samples(folder, held_images, held_labels)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["label"], {"image": held_images[:, None]})
    right = int((found[:, 0] == held_labels).sum())
    print(f"held-out scans: {right} of {len(held_labels)} right, accuracy {right / len(held_labels):.4f}")
    print(f"request.json is scan 0 of held_out.json: a {held_labels[0]}")
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
