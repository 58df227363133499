#!/usr/bin/env python3
"""Writes `mlp`, the small perceptron that the benchmarks use: 64 → 256 → 256 → 256 → 10, seeded weights.

Input:  INPUT   FP32 [batch, 64]
Output: OUTPUT  FP32 [batch, 10]
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 7
WIDTHS = [64, 256, 256, 256, 10]


def build() -> onnx.ModelProto:
    rng = np.random.default_rng(SEED)
    nodes, weights = [], []
    x = "INPUT"
    for index, (inputs, outputs) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        last = index == len(WIDTHS) - 2
        weight = rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs)).astype(np.float32)
        bias = rng.normal(0, 0.1, outputs).astype(np.float32)
        weights += [numpy_helper.from_array(weight, f"w{index}"), numpy_helper.from_array(bias, f"b{index}")]
        linear = "OUTPUT" if last else f"linear{index}"
        nodes.append(helper.make_node("Gemm", [x, f"w{index}", f"b{index}"], [linear]))
        if not last:
            x = f"relu{index}"
            nodes.append(helper.make_node("Relu", [linear], [x]))
    graph = helper.make_graph(
        nodes,
        "mlp",
        inputs=[helper.make_tensor_value_info("INPUT", TensorProto.FLOAT, ["batch", WIDTHS[0]])],
        outputs=[helper.make_tensor_value_info("OUTPUT", TensorProto.FLOAT, ["batch", WIDTHS[-1]])],
        initializer=weights,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="the model repository to write to")
    folder = parser.parse_args().out / "mlp" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    model = build()
    onnx.checker.check_model(model, full_check=True)
    partial = folder / "model.onnx.partial"
    onnx.save(model, partial)
    partial.rename(folder / "model.onnx")


if __name__ == "__main__":
    main()
