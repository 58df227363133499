#!/usr/bin/env python3
"""Writes `resnet50`: the shape of ResNet-50 with seeded random weights, for measuring speed. It classifies nothing.

Batch normalisation is folded into the convolutions, as exporters do for inference. 25.6 million parameters, 102 MB.

Input:  image   FP32 [batch, 3, 224, 224]
Output: logits  FP32 [batch, 1000]
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 50
# Blocks, inner channels and first stride of the four stages; a block widens its inner channels four times.
STAGES = [(3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)]


class Network:
    def __init__(self):
        self.rng = np.random.default_rng(SEED)
        self.nodes, self.weights = [], []

    def add(self, operator: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name: str, shape: tuple[int, ...], deviation: float) -> str:
        values = self.rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(
        self, x: str, name: str, channels: tuple[int, int], kernel: int, stride: int = 1, gain: float = 2.0
    ) -> str:
        inputs, outputs = channels
        shape = (outputs, inputs, kernel, kernel)
        weight = self.weight(f"{name}.weight", shape, np.sqrt(gain / (inputs * kernel * kernel)))
        bias = self.weight(f"{name}.bias", (outputs,), 0.01)
        pad = kernel // 2
        return self.add(
            "Conv", [x, weight, bias], name, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=[pad] * 4
        )

    def block(self, x: str, name: str, channels: tuple[int, int], stride: int) -> str:
        """A bottleneck: 1 x 1, 3 x 3 with the stride, 1 x 1, added to the input.

        The last convolution's variance is a tenth of He's, so that sixteen residual sums stay finite.
        """
        inputs, inner = channels
        outputs = 4 * inner
        y = self.add("Relu", [self.conv(x, f"{name}.conv1", (inputs, inner), 1)], f"{name}.relu1")
        y = self.add("Relu", [self.conv(y, f"{name}.conv2", (inner, inner), 3, stride)], f"{name}.relu2")
        y = self.conv(y, f"{name}.conv3", (inner, outputs), 1, gain=0.2)
        if inputs != outputs:
            x = self.conv(x, f"{name}.shortcut", (inputs, outputs), 1, stride, gain=1.0)
        return self.add("Relu", [self.add("Add", [y, x], f"{name}.sum")], f"{name}.out")


def build() -> onnx.ModelProto:
    network = Network()
    x = network.add("Relu", [network.conv("image", "stem.conv", (3, 64), 7, 2)], "stem.relu")
    x = network.add("MaxPool", [x], "stem.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, (blocks, inner, stride) in enumerate(STAGES):
        for index in range(blocks):
            x = network.block(x, f"stage{stage}.{index}", (channels, inner), stride if index == 0 else 1)
            channels = 4 * inner
    x = network.add("Flatten", [network.add("GlobalAveragePool", [x], "pool")], "features")
    weight = network.weight("classifier.weight", (channels, 1000), np.sqrt(1 / channels))
    bias = network.weight("classifier.bias", (1000,), 0.01)
    network.add("Gemm", [x, weight, bias], "logits")
    graph = helper.make_graph(
        network.nodes,
        "resnet50",
        inputs=[helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        outputs=[helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1000])],
        initializer=network.weights,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="the model repository to write to")
    folder = parser.parse_args().out / "resnet50" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    model = build()
    onnx.checker.check_model(model)
    partial = folder / "model.onnx.partial"
    onnx.save(model, partial)
    partial.rename(folder / "model.onnx")


if __name__ == "__main__":
    main()
