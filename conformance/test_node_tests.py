"""ONNX's backend node tests, through the server: what ONNX Runtime answers in process, a client must get.

All 1,383 cases; each Nth with `--node-tests-every N`.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ask import Asker
from server import EXAMPLES, Server

RELATIVE, ABSOLUTE = 1e-3, 1e-5
SHOWN = 20


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "node"
    every = request.config.getoption("--node-tests-every")
    subprocess.run([sys.executable, EXAMPLES / "node_tests.py", "--out", out, "--every", every], check=True)
    return out


@pytest.fixture(scope="module")
def node_server(folder: Path):
    with Server(folder / "models") as running:
        yield running


def read(path: Path) -> np.ndarray:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    array = numpy_helper.to_array(tensor)
    if array.dtype.kind in "OSU":
        encoded = [item if isinstance(item, bytes) else str(item).encode() for item in array.flatten()]
        return np.array(encoded, np.object_).reshape(array.shape)
    return array


def difference(found: np.ndarray | None, expected: np.ndarray) -> str | None:
    """What is wrong with an answer, or nothing."""
    if found is None:
        return "not answered"
    if found.shape != expected.shape:
        return f"shape {found.shape}, expected {expected.shape}"
    if expected.dtype.kind == "O" or expected.dtype == bool:
        return None if np.array_equal(found, expected) else f"{found}, expected {expected}"
    wide = expected.dtype if expected.dtype.kind in "iu" else np.float64
    if np.allclose(found.astype(wide), expected.astype(wide), RELATIVE, ABSOLUTE, equal_nan=True):
        return None
    return "values differ"


def ask(asker: Asker, folder: Path, case: str, names: dict[str, list[str]]) -> str | None:
    data = folder / "cases" / case
    inputs = {name: read(data / f"input_{index}.pb") for index, name in enumerate(names["inputs"])}
    try:
        found = asker.infer(case, inputs)
    except Exception as error:  # every failure has its place in the list
        return str(error)
    for index, name in enumerate(names["outputs"]):
        if wrong := difference(found.get(name), read(data / f"output_{index}.pb")):
            return f"{name}: {wrong}"
    return None


@pytest.mark.parametrize("protocol", ["http-binary", "grpc"])
def test_node_cases(folder: Path, node_server: Server, protocol: str, notes: list[str]) -> None:
    cases = json.loads((folder / "cases.json").read_text())
    left_out = sum(map(len, json.loads((folder / "left_out.json").read_text()).values()))
    assert cases
    asker = Asker(node_server, protocol)
    failures = {case: wrong for case, names in cases.items() if (wrong := ask(asker, folder, case, names))}
    asker.close()
    passed = len(cases) - len(failures)
    notes.append(f"ONNX node tests over {protocol}: {passed} passed, {len(failures)} failed, {left_out} not applicable")
    shown = "\n".join(f"{case}: {wrong[:200]}" for case, wrong in list(failures.items())[:SHOWN])
    assert not failures, f"{len(failures)} of {len(cases)} cases fail, among them:\n{shown}"
