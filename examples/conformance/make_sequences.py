#!/usr/bin/env python3
"""Writes the models of Triton's sequence examples, as far as ONNX operators can express them, and one with implicit state.

Inputs and outputs are INT32 [batch, 1]. START, READY, END and CORRID are filled in by the server.

simple_sequence:       OUTPUT = INPUT + START, and 0 in rows that are not READY
simple_dyna_sequence:  OUTPUT = INPUT + START + END × CORRID, and 0 in rows that are not READY
sequence_sum:          OUTPUT = SUM_OUT = SUM_IN + INPUT, the server keeping SUM_OUT for the sequence's next request
"""

import argparse
from pathlib import Path

import onnx
from onnx import TensorProto, helper

SHAPE = ["batch", 1]


def int32(*names: str) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.INT32, SHAPE) for name in names]


def node(operator: str, inputs: str, output: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def build(name: str) -> onnx.ModelProto:
    inputs, outputs = int32("INPUT", "START", "READY"), int32("OUTPUT")
    if name == "simple_sequence":
        nodes = [node("Add", "INPUT START", "marked"), node("Mul", "marked READY", "OUTPUT")]
    elif name == "simple_dyna_sequence":
        inputs += [*int32("END"), helper.make_tensor_value_info("CORRID", TensorProto.UINT64, SHAPE)]
        nodes = [
            node("Cast", "CORRID", "id", to=TensorProto.INT32),
            node("Mul", "id END", "last"),
            node("Add", "INPUT START", "marked"),
            node("Add", "marked last", "sum"),
            node("Mul", "sum READY", "OUTPUT"),
        ]
    else:
        inputs, outputs = int32("INPUT", "SUM_IN"), int32("OUTPUT", "SUM_OUT")
        nodes = [node("Add", "SUM_IN INPUT", "OUTPUT"), node("Identity", "OUTPUT", "SUM_OUT")]
    graph = helper.make_graph(nodes, name, inputs=inputs, outputs=outputs)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="the model repository to write to")
    out = parser.parse_args().out
    for name in ("simple_sequence", "simple_dyna_sequence", "sequence_sum"):
        folder = out / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        model = build(name)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, folder / "model.onnx")


if __name__ == "__main__":
    main()
