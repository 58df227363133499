"""Writes the models that the engines' tests run, beside this file. Needs onnx==1.19.1 and numpy.

Run it again after a change and commit what it writes; the output does not depend on when or where it runs.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto as T
from onnx import checker, helper, numpy_helper, save

FOLDER = Path(__file__).parent
OPSET = [helper.make_opsetid("", 19)]
# What the ONNX specification lets Add and Sub take.
NUMBERS = {
    "uint8": T.UINT8, "uint16": T.UINT16, "uint32": T.UINT32, "uint64": T.UINT64,
    "int8": T.INT8, "int16": T.INT16, "int32": T.INT32, "int64": T.INT64,
    "fp16": T.FLOAT16, "bf16": T.BFLOAT16, "fp32": T.FLOAT, "fp64": T.DOUBLE,
}


def value(name, datatype, shape):
    return helper.make_tensor_value_info(name, datatype, shape)


def write(name, nodes, inputs, outputs, initializers=(), check=True):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(initializers))
    model = helper.make_model(graph, opset_imports=OPSET, ir_version=9, producer_name="adulis")
    if check:
        checker.check_model(model, full_check=True)
    save(model, FOLDER / f"{name}.onnx")


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs, outputs, **attributes)


def add_sub():
    """Sum and difference, batched, for the datatypes that ONNX Runtime computes with."""
    for name in ["int32", "int64", "fp32", "fp64"]:
        datatype, shape = NUMBERS[name], ["batch", 4]
        write(
            f"add_sub_{name}",
            [node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]), node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"])],
            [value("INPUT0", datatype, shape), value("INPUT1", datatype, shape)],
            [value("OUTPUT0", datatype, shape), value("OUTPUT1", datatype, shape)],
        )


def identities():
    """One input, handed through by an operator, for every datatype."""
    for name, datatype in {**NUMBERS, "bool": T.BOOL, "bytes": T.STRING}.items():
        shape = ["batch", "width"]
        write(
            f"identity_{name}",
            [node("Identity", ["INPUT0"], ["OUTPUT0"])],
            [value("INPUT0", datatype, shape)],
            [value("OUTPUT0", datatype, shape)],
        )


def pass_through():
    """The output is the input, without an operator between them."""
    write(
        "pass_through",
        [node("Neg", ["INPUT0"], ["NEGATIVE"])],
        [value("INPUT0", T.FLOAT, ["batch", "width"])],
        [value("INPUT0", T.FLOAT, ["batch", "width"]), value("NEGATIVE", T.FLOAT, ["batch", "width"])],
        check=False,
    )


def mlp():
    """64 -> 256 -> 256 -> 256 -> 10 with one repeated row of weights, so that the file stays small."""
    random = np.random.default_rng(7)
    sizes, nodes, initializers, last = [64, 256, 256, 256, 10], [], [], "input"
    for layer, (width_in, width_out) in enumerate(zip(sizes, sizes[1:])):
        row = (random.standard_normal((1, width_out)) / np.sqrt(width_in)).astype(np.float32)
        column = np.where(np.arange(width_in) % 3 == 0, -1, 1).astype(np.float32).reshape(width_in, 1)
        initializers += [
            numpy_helper.from_array(row, f"row{layer}"),
            numpy_helper.from_array(column, f"column{layer}"),
        ]
        nodes += [
            node("Mul", [f"column{layer}", f"row{layer}"], [f"weights{layer}"]),
            node("MatMul", [last, f"weights{layer}"], [f"sum{layer}"]),
        ]
        last = f"sum{layer}"
        if layer < len(sizes) - 2:
            nodes.append(node("Relu", [last], [f"active{layer}"]))
            last = f"active{layer}"
    nodes[-1] = node("MatMul", [nodes[-1].input[0], nodes[-1].input[1]], ["output"])
    write("mlp", nodes, [value("input", T.FLOAT, ["batch", 64])], [value("output", T.FLOAT, ["batch", 10])], initializers)


def shapes():
    """Rank 0, names that differ, a fixed leading dimension."""
    write(
        "scalar",
        [node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"])],
        [value("INPUT0", T.FLOAT, []), value("INPUT1", T.FLOAT, [])],
        [value("OUTPUT0", T.FLOAT, [])],
    )
    write(
        "two_axes",
        [node("Concat", ["INPUT0", "INPUT1"], ["OUTPUT0"], axis=0)],
        [value("INPUT0", T.FLOAT, ["n", 2]), value("INPUT1", T.FLOAT, ["m", 2])],
        [value("OUTPUT0", T.FLOAT, [None, 2])],
    )
    write(
        "fixed",
        [node("Neg", ["INPUT0"], ["OUTPUT0"])],
        [value("INPUT0", T.FLOAT, [1, 3])],
        [value("OUTPUT0", T.FLOAT, [1, 3])],
    )


def optional():
    """INPUT1 has an initialiser, so a run may leave it out."""
    write(
        "optional",
        [node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"])],
        [value("INPUT0", T.FLOAT, ["batch", 2]), value("INPUT1", T.FLOAT, [2])],
        [value("OUTPUT0", T.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.array([10, 20], np.float32), "INPUT1")],
    )


def failing():
    """Takes the elements that the second input names, which may not be there."""
    write(
        "gather",
        [node("Gather", ["INPUT0", "INPUT1"], ["OUTPUT0"])],
        [value("INPUT0", T.FLOAT, ["n"]), value("INPUT1", T.INT64, ["k"])],
        [value("OUTPUT0", T.FLOAT, ["k"])],
    )


def slow():
    """A loop of INPUT0 steps, each a product of two 64x64 matrices: minutes, for a large count."""
    body = helper.make_graph(
        [
            node("MatMul", ["state", "turn"], ["next"]),
            node("Identity", ["go"], ["go_on"]),
        ],
        "step",
        [value("step", T.INT64, []), value("go", T.BOOL, []), value("state", T.FLOAT, [64, 64])],
        [value("go_on", T.BOOL, []), value("next", T.FLOAT, [64, 64])],
    )
    shape = numpy_helper.from_array(np.array([64, 64], np.int64), "shape")
    write(
        "slow",
        [
            node("ConstantOfShape", ["shape"], ["start"]),
            node("ConstantOfShape", ["shape"], ["turn"]),
            node("Loop", ["INPUT0", "", "start"], ["OUTPUT0"], body=body),
        ],
        [value("INPUT0", T.INT64, [])],
        [value("OUTPUT0", T.FLOAT, [64, 64])],
        [shape],
    )


def unsupported():
    """Inputs that the protocol has no form for."""
    sequence = helper.make_tensor_sequence_value_info("INPUT0", T.FLOAT, ["n"])
    write(
        "sequence",
        [node("SequenceLength", ["INPUT0"], ["OUTPUT0"])],
        [sequence],
        [value("OUTPUT0", T.INT64, [])],
    )
    write(
        "float8",
        [node("Cast", ["INPUT0"], ["OUTPUT0"], to=T.FLOAT)],
        [value("INPUT0", T.FLOAT8E4M3FN, ["n"])],
        [value("OUTPUT0", T.FLOAT, ["n"])],
        check=False,
    )


if __name__ == "__main__":
    for make in [add_sub, identities, pass_through, mlp, shapes, optional, failing, slow, unsupported]:
        make()
