#!/usr/bin/env python3
"""Writes the model files of this repository that ONNX's operators can express.

simple         INT32  [batch, 16]  OUTPUT0 = INPUT0 + INPUT1, OUTPUT1 = INPUT0 - INPUT1
simple_int8    INT8   [batch, 16]  the same; sums wrap around
simple_string  BYTES  [batch, 16]  the same of whole numbers written as text

The other models here are built-in backends of Adulis and have no files.
"""

import argparse
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, helper

ADD_SUB = (("Add", "OUTPUT0"), ("Sub", "OUTPUT1"))


def add_sub(name: str, datatype: int) -> onnx.ModelProto:
    """Adds and subtracts INT32, whatever the datatype outside: engines have no INT8 sums, and none of text."""

    def tensor(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, datatype, ["batch", 16])

    inputs, outputs = ("INPUT0", "INPUT1"), ("OUTPUT0", "OUTPUT1")
    nodes: list[NodeProto] = []
    if datatype == TensorProto.INT32:
        nodes += [helper.make_node(operator, inputs, [output]) for operator, output in ADD_SUB]
    else:
        numbers = [f"{input}_INT32" for input in inputs]
        for input, number in zip(inputs, numbers):
            nodes.append(helper.make_node("Cast", [input], [number], to=TensorProto.INT32))
        for operator, output in ADD_SUB:
            nodes.append(helper.make_node(operator, numbers, [f"{output}_INT32"]))
            nodes.append(helper.make_node("Cast", [f"{output}_INT32"], [output], to=datatype))
    graph = helper.make_graph(nodes, name, [tensor(name) for name in inputs], [tensor(name) for name in outputs])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


MODELS = {
    "simple": TensorProto.INT32,
    "simple_int8": TensorProto.INT8,
    "simple_string": TensorProto.STRING,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="the model repository to write to")
    out = parser.parse_args().out
    for name, datatype in MODELS.items():
        folder = out / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        model = add_sub(name, datatype)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, folder / "model.onnx")


if __name__ == "__main__":
    main()
