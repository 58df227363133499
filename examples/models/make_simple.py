#!/usr/bin/env python3
"""Writes `simple`, the add/sub model that Triton's examples begin with.

Inputs:  INPUT0, INPUT1  INT32 [batch, 16]
Outputs: OUTPUT0 = INPUT0 + INPUT1, OUTPUT1 = INPUT0 - INPUT1
"""

import argparse
from pathlib import Path

import onnx
from onnx import TensorProto, helper


def build() -> onnx.ModelProto:
    def tensor(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", 16])

    graph = helper.make_graph(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        "simple",
        inputs=[tensor("INPUT0"), tensor("INPUT1")],
        outputs=[tensor("OUTPUT0"), tensor("OUTPUT1")],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="the model repository to write to")
    folder = parser.parse_args().out / "simple" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    model = build()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "model.onnx")


if __name__ == "__main__":
    main()
