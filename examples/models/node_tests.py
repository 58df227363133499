#!/usr/bin/env python3
"""Turns ONNX's backend node tests into a model repository: over a thousand small models, one version each.

It takes the node cases that the PyPI package `onnx` 1.19.1 ships as files, keeps those whose inputs and outputs are
plain tensors of the protocol's datatypes and which ONNX Runtime in this process answers as expected (1,383 of 1,615
with ONNX Runtime 1.28.0), and writes

    OUT/models/<case>/1/model.onnx     the repository
    OUT/cases/<case>/input_0.pb …      inputs and expected outputs, as the package ships them
    OUT/cases.json                     for each case the names of its inputs and outputs, in the files' order

For measuring start-up with many models, and for the conformance tests. `--every N` keeps each Nth case only.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RELATIVE, ABSOLUTE = 1e-3, 1e-5
# Element types with a name in the Open Inference Protocol.
INTEGERS = [TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64]
UNSIGNED = [TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64]
FLOATS = [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE]
KNOWN = {TensorProto.BOOL, TensorProto.STRING, *INTEGERS, *UNSIGNED, *FLOATS}


def cases() -> list[Path]:
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    if not data.is_dir():
        sys.exit(f"onnx {onnx.__version__} carries no node tests as files; install onnx==1.19.1")
    return sorted(path.parent for path in data.glob("node/*/model.onnx"))


def read(path: Path) -> np.ndarray:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)


def numbered(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.split("_")[-1]))


def plain(values: list[onnx.ValueInfoProto]) -> bool:
    return all(v.type.HasField("tensor_type") and v.type.tensor_type.elem_type in KNOWN for v in values)


def agree(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if expected.dtype.kind in "OSU" or expected.dtype == bool:
        return bool(np.array_equal(found, expected))
    wide = np.float64 if expected.dtype.kind not in "iu" else expected.dtype
    return bool(np.allclose(found.astype(wide), expected.astype(wide), RELATIVE, ABSOLUTE, equal_nan=True))


def widen_bfloat16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with casts to and from FLOAT at its bfloat16 inputs and outputs, which NumPy cannot feed or read."""
    graph = model.graph
    inputs = {value.name for value in graph.input}
    for value in list(graph.input) + list(graph.output):
        if value.type.tensor_type.elem_type != TensorProto.BFLOAT16:
            continue
        inner = f"{value.name}/bfloat16"
        is_input = value.name in inputs
        for node in graph.node:
            names = node.input if is_input else node.output
            names[:] = [inner if name == value.name else name for name in names]
        if is_input:
            graph.node.insert(0, helper.make_node("Cast", [value.name], [inner], to=TensorProto.BFLOAT16))
        else:
            graph.node.append(helper.make_node("Cast", [inner], [value.name], to=TensorProto.FLOAT))
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        widen_bfloat16(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {name: as_numpy_type(value) for name, value in inputs.items()})


def as_numpy_type(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) if value.dtype.name == "bfloat16" else value


def entry(case: Path) -> dict[str, list[str]] | str:
    """The names of a usable case's inputs and outputs, or why it is left out."""
    model = onnx.load(case / "model.onnx")
    folder = case / "test_data_set_0"
    initialised = {tensor.name for tensor in model.graph.initializer}
    fed_values = [value for value in model.graph.input if value.name not in initialised]
    inputs, outputs = numbered(folder, "input"), numbered(folder, "output")
    if not plain(model.graph.input) or not plain(model.graph.output):
        return "not plain tensors"
    if len(inputs) > len(fed_values) or len(outputs) != len(model.graph.output):
        return "data and graph differ"
    try:
        fed = {value.name: read(path) for value, path in zip(fed_values, inputs)}
        expected = [as_numpy_type(read(path)) for path in outputs]
        output_names = [value.name for value in model.graph.output]
        found = run(model, fed)
    except Exception as error:  # whatever stops ONNX Runtime leaves the case out
        return f"ONNX Runtime: {str(error).splitlines()[0][:120]}"
    if not all(agree(*pair) for pair in zip(found, expected)):
        return "ONNX Runtime answers differently"
    return {"inputs": list(fed), "outputs": output_names}


def write(case: Path, out: Path) -> None:
    version = out / "models" / case.name / "1"
    version.mkdir(parents=True)
    shutil.copy(case / "model.onnx", version)
    shutil.copytree(case / "test_data_set_0", out / "cases" / case.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to write; replaced if it is there")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="look at each Nth case only")
    arguments = parser.parse_args()
    onnxruntime.set_default_logger_severity(4)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=arguments.out.parent))
    kept, left_out = {}, {}
    chosen = cases()[:: arguments.every]
    for index, case in enumerate(chosen):
        names = entry(case)
        if isinstance(names, str):
            left_out.setdefault(names, []).append(case.name)
        else:
            kept[case.name] = names
            write(case, scratch)
        if sys.stdout.isatty():
            print(f"\r{index + 1} of {len(chosen)}", end="", flush=True)
    (scratch / "cases.json").write_text(json.dumps(kept, indent=1))
    (scratch / "left_out.json").write_text(json.dumps(left_out, indent=1))
    shutil.rmtree(arguments.out, ignore_errors=True)
    os.chmod(scratch, 0o755)
    scratch.rename(arguments.out)
    print(
        f"{len(kept)} of {len(chosen)} cases kept in {arguments.out}; left_out.json there says why the others are not"
    )


if __name__ == "__main__":
    main()
