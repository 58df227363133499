"""The small models that the tests need, written at test time."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Protocol datatype → (ONNX element type, extreme and ordinary values).
NUMERIC = {
    "BOOL": (TensorProto.BOOL, [True, False, False, True]),
    "UINT8": (TensorProto.UINT8, [0, 1, 127, 255]),
    "UINT16": (TensorProto.UINT16, [0, 1, 256, 65535]),
    "UINT32": (TensorProto.UINT32, [0, 1, 65536, 2**32 - 1]),
    "UINT64": (TensorProto.UINT64, [0, 1, 2**63, 2**64 - 1]),
    "INT8": (TensorProto.INT8, [-128, -1, 0, 127]),
    "INT16": (TensorProto.INT16, [-32768, -1, 0, 32767]),
    "INT32": (TensorProto.INT32, [-(2**31), -1, 0, 2**31 - 1]),
    "INT64": (TensorProto.INT64, [-(2**63), -1, 2**53 + 1, 2**63 - 1]),
    "FP16": (TensorProto.FLOAT16, [-65504.0, 0.333251953125, 6e-8, 1.0]),
    "BF16": (TensorProto.BFLOAT16, [-3.0e38, 0.333984375, 1e-38, 1.0]),
    "FP32": (TensorProto.FLOAT, [-3.4028235e38, 0.1, 1.1754944e-38, 16777217.0]),
    "FP64": (TensorProto.DOUBLE, [-1.7976931348623157e308, 0.1, 2.2250738585072014e-308, 9007199254740993.0]),
}
# Half floats have no JSON form in Triton, and its clients refuse to write one for BF16.
BINARY_ONLY = {"FP16", "BF16"}


def value(name: str, kind: int, shape: list) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def save(repository: Path, name: str, nodes: list, inputs: list, outputs: list, initialisers: list = ()) -> None:
    graph = helper.make_graph(nodes, name, inputs, outputs, initializer=list(initialisers))
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")


def configure(repository: Path, name: str, text: str) -> None:
    (repository / name / "1").mkdir(parents=True, exist_ok=True)
    (repository / name / "config.pbtxt").write_text(text)


def datatypes(repository: Path) -> None:
    """`type_<datatype>`: X [batch, n] → SAME = X, and WIDE = X as FP64, which shows that X was understood."""
    for name, (kind, _) in NUMERIC.items():
        nodes = [
            helper.make_node("Identity", ["X"], ["SAME"]),
            helper.make_node("Cast", ["X"], ["WIDE"], to=TensorProto.DOUBLE),
        ]
        outputs = [value("SAME", kind, ["batch", "n"]), value("WIDE", TensorProto.DOUBLE, ["batch", "n"])]
        save(repository, f"type_{name.lower()}", nodes, [value("X", kind, ["batch", "n"])], outputs)
    shape = ["batch", "n"]
    nodes = [helper.make_node("Identity", ["X"], ["SAME"])]
    text = TensorProto.STRING
    save(repository, "type_bytes", nodes, [value("X", text, shape)], [value("SAME", text, shape)])


def shapes(repository: Path) -> None:
    """Scalars, models without a batch dimension, optional inputs, several inputs of different datatypes."""
    floats = TensorProto.FLOAT
    add = [helper.make_node("Add", ["A", "B"], ["SUM"])]
    save(repository, "scalar", add, [value("A", floats, []), value("B", floats, [])], [value("SUM", floats, [])])
    save(
        repository,
        "unbatched",
        [helper.make_node("Transpose", ["X"], ["Y"], perm=[1, 0])],
        [value("X", floats, [2, 3])],
        [value("Y", floats, [3, 2])],
    )
    save(
        repository,
        "optional",
        add,
        [value("A", floats, ["batch", 2]), value("B", floats, [2])],
        [value("SUM", floats, ["batch", 2])],
        [numpy_helper.from_array(np.array([10, 20], np.float32), "B")],
    )
    save(
        repository,
        "mixed",
        [
            helper.make_node("Cast", ["FLAGS"], ["mask"], to=TensorProto.INT64),
            helper.make_node("Mul", ["NUMBERS", "mask"], ["KEPT"]),
            helper.make_node("Identity", ["TEXT"], ["SAID"]),
        ],
        [
            value("FLAGS", TensorProto.BOOL, ["batch", 3]),
            value("NUMBERS", TensorProto.INT64, ["batch", 3]),
            value("TEXT", TensorProto.STRING, ["batch", 1]),
        ],
        [value("KEPT", TensorProto.INT64, ["batch", 3]), value("SAID", TensorProto.STRING, ["batch", 1])],
    )


IDENTITY = """
name: "{name}"
backend: "identity"
max_batch_size: {max_batch_size}
input [ {{ name: "INPUT0" data_type: TYPE_FP32 dims: [ 16 ] }} ]
output [ {{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 16 ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
{more}
"""
DELAY_SECONDS = 0.3


def misbehaving(repository: Path) -> None:
    """`slow` takes one request at a time, 0.3 s each; `batched` waits for company; `failing` fails or panics on cue."""
    delay = f'parameters {{ key: "execute_delay_microseconds" value {{ string_value: "{int(DELAY_SECONDS * 1e6)}" }} }}'
    configure(repository, "slow", IDENTITY.format(name="slow", max_batch_size=1, more=delay))
    batching = """
        dynamic_batching { max_queue_delay_microseconds: 20000 }
        parameters { key: "execute_delay_microseconds" value { string_value: "5000" } }
    """
    configure(repository, "batched", IDENTITY.format(name="batched", max_batch_size=16, more=batching))
    cues = """
        dynamic_batching { max_queue_delay_microseconds: 20000 }
        parameters { key: "fail_on" value { string_value: "1" } }
        parameters { key: "panic_on" value { string_value: "2" } }
    """
    configure(repository, "failing", IDENTITY.format(name="failing", max_batch_size=8, more=cues))


def build(repository: Path) -> Path:
    datatypes(repository)
    shapes(repository)
    misbehaving(repository)
    return repository


PLAIN_IDENTITY = """
name: "identity"
backend: "identity"
max_batch_size: 8
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""


def build_identity(folder: Path) -> Path:
    """A repository of one model, `identity`, for tests of what is around models."""
    version = folder / "identity" / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(PLAIN_IDENTITY)
    return folder
