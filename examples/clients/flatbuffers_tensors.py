"""Requests and answers as FlatBuffers, with the `flatbuffers` package alone: what flatc would generate of
proto/infer.fbs, by hand, for NumPy arrays.

A field's number is its place in its table of the schema, from 0.
"""

import flatbuffers
import numpy as np
from flatbuffers import encode
from flatbuffers.number_types import UOffsetTFlags
from flatbuffers.table import Table

CONTENT_TYPE = "application/x-flatbuffers"
FILE_IDENTIFIER = b"ADLS"
ALIGNMENT_BYTES = 64

# The values of the enum DataType that NumPy has types for. BYTES (14) is built from its elements' lengths and bytes.
DATATYPES = dict(
    bool=1, uint8=2, uint16=3, uint32=4, uint64=5, int8=6, int16=7, int32=8, int64=9, float16=10, float32=12, float64=13
)
NAMES = {number: name for name, number in DATATYPES.items()}


def encode_request(inputs: dict[str, np.ndarray], request_id: str = "") -> bytes:
    """An InferRequest; the path it is sent to names the model."""
    builder = flatbuffers.Builder(1024 + sum(array.nbytes + ALIGNMENT_BYTES for array in inputs.values()))
    tensors = [_tensor(builder, name, array) for name, array in inputs.items()]
    builder.StartVector(4, len(tensors), 4)
    for tensor in reversed(tensors):
        builder.PrependUOffsetTRelative(tensor)
    tensors = builder.EndVector()
    request_id = builder.CreateString(request_id)
    builder.StartObject(6)
    builder.PrependUOffsetTRelativeSlot(2, request_id, 0)
    builder.PrependUOffsetTRelativeSlot(4, tensors, 0)
    builder.Finish(builder.EndObject(), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder: flatbuffers.Builder, name: str, array: np.ndarray) -> int:
    data = np.ascontiguousarray(array).tobytes()
    builder.StartVector(1, len(data), ALIGNMENT_BYTES)
    builder.head -= len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    data = builder.EndVector()
    builder.StartVector(8, array.ndim, 8)
    for extent in reversed(array.shape):
        builder.PrependUint64(extent)
    shape = builder.EndVector()
    name = builder.CreateString(name)
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUint8Slot(1, DATATYPES[array.dtype.name], 0)
    builder.PrependUOffsetTRelativeSlot(2, shape, 0)
    builder.PrependUOffsetTRelativeSlot(3, data, 0)
    return builder.EndObject()


def decode_response(body: bytes) -> dict[str, np.ndarray]:
    """The outputs of an InferResponse: arrays over `body` itself, not copied."""
    if body[4:8] != FILE_IDENTIFIER:
        raise ValueError("not an answer of this schema")
    root = Table(body, encode.Get(UOffsetTFlags.packer_type, body, 0))
    outputs = {}
    at = _field(root, 4)
    for index in range(root.VectorLen(at) if at else 0):
        tensor = Table(body, root.Indirect(root.Vector(at) + 4 * index))
        name = tensor.String(tensor.Pos + _field(tensor, 0)).decode()
        dtype = np.dtype(NAMES[tensor.Bytes[tensor.Pos + _field(tensor, 1)]])
        shape = _vector(tensor, 2, np.dtype(np.uint64), 8)
        outputs[name] = _vector(tensor, 3, dtype, 1).reshape(shape.astype(int))
    return outputs


def _field(table: Table, number: int) -> int:
    """Where a field lies in its table; 0 for one that was left out."""
    return table.Offset(4 + 2 * number)


def _vector(table: Table, number: int, dtype: np.dtype, element_bytes: int) -> np.ndarray:
    """A list whose elements are `element_bytes` long each, as an array over its bytes."""
    at = _field(table, number)
    if not at:
        return np.empty(0, dtype)
    count = table.VectorLen(at) * element_bytes // dtype.itemsize
    return np.frombuffer(table.Bytes, dtype, count, table.Vector(at))
