"""`reshape`: clients see one shape and the model has another, with an ONNX model that would refuse the clients'."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from ask import PROTOCOLS, Asker, status
from laboratory import configure, save, value
from server import Server

# The example of Triton's documentation: the model takes a vector of numbers, clients send [batch, 1].
DOUBLED = """
max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]
"""
IMAGE = """
max_batch_size: 0
input [ { name: "X" data_type: TYPE_FP32 dims: [ 2, 3 ] reshape { shape: [ 1, 6 ] } } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ 3, 2 ] reshape { shape: [ 6, 1 ] } } ]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository: Path = tmp_path_factory.mktemp("models")
    floats = TensorProto.FLOAT
    add = [helper.make_node("Add", ["X", "X"], ["Y"])]
    save(repository, "doubled", add, [value("X", floats, ["batch"])], [value("Y", floats, ["batch"])])
    configure(repository, "doubled", DOUBLED)
    turn = [helper.make_node("Transpose", ["X"], ["Y"], perm=[1, 0])]
    save(repository, "image", turn, [value("X", floats, [1, 6])], [value("Y", floats, [6, 1])])
    configure(repository, "image", IMAGE)
    with Server(repository) as running:
        yield running


@pytest.fixture(params=PROTOCOLS)
def asker(server: Server, request: pytest.FixtureRequest) -> Iterator[Asker]:
    made = Asker(server, request.param)
    yield made
    made.close()


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_a_batch(asker: Asker, rows: int) -> None:
    array = np.arange(rows, dtype=np.float32).reshape(rows, 1)
    np.testing.assert_array_equal(asker.infer("doubled", {"X": array})["Y"], array * 2)


def test_without_a_batch_dimension(asker: Asker) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(asker.infer("image", {"X": array})["Y"], array.reshape(3, 2))


def test_clients_are_told_their_own_shapes(asker: Asker) -> None:
    options = {"as_json": True} if asker.protocol == "grpc" else {}
    for model, shape in [("doubled", [-1, 1]), ("image", [2, 3])]:
        (tensor,) = asker.client.get_model_metadata(model, **options)["inputs"]
        assert [int(extent) for extent in tensor["shape"]] == shape
    for model, array in [("doubled", np.zeros(3, np.float32)), ("image", np.zeros((1, 6), np.float32))]:
        with pytest.raises(InferenceServerException, match=f"model '{model}': input 'X' has shape") as refused:
            asker.infer(model, {"X": array})
        assert status(refused.value) == "400"
