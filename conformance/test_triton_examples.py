"""What the examples of Triton's clients do, with the models that they are written for and unmodified clients.

Streams and decoupled models are in test_decoupled.py, control of models in test_model_control.py, shared memory in
test_shared_memory.py.
"""

import asyncio
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from models import CONFORMANCE, add_sub, tensor
from server import Server

MODULES = [triton_http, triton_grpc]
VALUES = np.arange(16, dtype=np.int32).reshape(1, 16)
SUM, DIFFERENCE = VALUES + 1, VALUES - 1


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(CONFORMANCE) as running:
        yield running
        assert running.process.poll() is None, f"the server ended by itself:\n{running.log_text()}"


@pytest.fixture(params=MODULES, ids=["http", "grpc"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


def address(server: Server, module: ModuleType) -> str:
    return server.http if "http" in module.__name__ else server.grpc


@pytest.fixture
def client(server: Server, module: ModuleType):
    with module.InferenceServerClient(address(server, module)) as made:
        yield made


def check(answer: object, datatype: str = "INT32") -> None:
    for name, expected in (("OUTPUT0", SUM), ("OUTPUT1", DIFFERENCE)):
        found = answer.as_numpy(name)
        if datatype == "BYTES":
            found = np.vectorize(int)(found)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("model", "datatype"), [("simple", "INT32"), ("simple_int8", "INT8"), ("simple_string", "BYTES")]
)
def test_infer(client: object, module: ModuleType, model: str, datatype: str):
    values = VALUES.astype(np.int8) if datatype == "INT8" else VALUES
    inputs = add_sub(module, values, datatype)
    outputs = [module.InferRequestedOutput(name) for name in ("OUTPUT0", "OUTPUT1")]
    check(client.infer(model, inputs, outputs=outputs, request_id="1", headers={"test": "1"}), datatype)
    check(client.infer(model, inputs), datatype)


def test_sums_of_int8_wrap_around(client: object, module: ModuleType):
    values = np.full((1, 16), 127, np.int8)
    answer = client.infer("simple_int8", add_sub(module, values, "INT8"))
    assert (answer.as_numpy("OUTPUT0") == -128).all()


def test_text_that_is_no_number_is_an_error_of_this_request(client: object, module: ModuleType):
    inputs = add_sub(module, VALUES, "BYTES")
    wrong = np.full((1, 16), b"many", np.object_)
    with pytest.raises(InferenceServerException):
        client.infer("simple_string", [tensor(module, "INPUT0", wrong, "BYTES"), inputs[1]])
    check(client.infer("simple_string", inputs), "BYTES")


@pytest.mark.parametrize("text", [b"he\x00llo", b"\x00\x01\x02\x03", b""])
def test_identity_of_bytes(client: object, module: ModuleType, text: bytes):
    array = np.full((1, 16), text, np.object_)
    answer = client.infer("simple_identity", [tensor(module, "INPUT0", array, "BYTES")])
    np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), array)


def test_compressed(client: object, module: ModuleType):
    inputs = add_sub(module, VALUES, "INT32")
    for algorithm in ("gzip", "deflate"):
        if module is triton_http:
            options = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
        else:
            options = {"compression_algorithm": algorithm}
        check(client.infer("simple", inputs, **options))


def test_many_requests_at_once_over_http(server: Server):
    with triton_http.InferenceServerClient(server.http, concurrency=4) as client:
        inputs = add_sub(triton_http, VALUES, "INT32")
        for asked in [client.async_infer("simple", inputs) for _ in range(32)]:
            check(asked.get_result())


def test_callbacks_and_cancellation_over_grpc(server: Server):
    answers: queue.Queue = queue.Queue()
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        inputs = add_sub(triton_grpc, VALUES, "INT32")
        for _ in range(32):
            client.async_infer("simple", inputs, callback=lambda result, error: answers.put(error or result))
        for _ in range(32):
            check(answers.get(timeout=20))


async def ask(module: ModuleType, of_inputs: ModuleType, url: str) -> list:
    async with module.InferenceServerClient(url) as client:
        inputs = add_sub(of_inputs, VALUES, "INT32")
        assert await client.is_server_live() and await client.is_model_ready("simple")
        return await asyncio.gather(*(client.infer("simple", inputs) for _ in range(16)))


@pytest.mark.parametrize(
    ("module", "inputs"), [(triton_http_aio, triton_http), (triton_grpc_aio, triton_grpc)], ids=["http", "grpc"]
)
def test_asynchronous_clients(server: Server, module: ModuleType, inputs: ModuleType):
    for answer in asyncio.run(ask(module, inputs, address(server, module))):
        check(answer)


@pytest.mark.parametrize(("model", "datatype"), [("simple", "INT32"), ("simple_int8", "INT8"), ("simple_string", "BYTES")])
def test_typed_contents(server: Server, model: str, datatype: str):
    """What grpc_explicit_*_content_client.py do."""
    request = service_pb2.ModelInferRequest(model_name=model, id="typed")
    for name, values in (("INPUT0", range(16)), ("INPUT1", [1] * 16)):
        made = request.inputs.add(name=name, datatype=datatype, shape=[1, 16])
        if datatype == "BYTES":
            made.contents.bytes_contents.extend(str(value).encode() for value in values)
        else:
            made.contents.int_contents.extend(values)
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        stub: service_pb2_grpc.GRPCInferenceServiceStub = client._client_stub
        response = stub.ModelInfer(request)
    check(triton_grpc.InferResult(response), datatype)


def test_metadata_and_configuration(client: object, module: ModuleType):
    queries = {"query_params": {"test_1": 1, "test_2": 2}} if module is triton_http else {}
    assert client.is_server_live(**queries) and client.is_server_ready() and client.is_model_ready("simple")
    metadata = client.get_model_metadata("simple", **queries)
    name = metadata["name"] if module is triton_http else metadata.name
    assert name == "simple"
    config = client.get_model_config("simple", **queries)
    assert (config["max_batch_size"] if module is triton_http else config.config.max_batch_size) == 8
    with pytest.raises(InferenceServerException, match="Request for unknown model"):
        client.get_model_metadata("wrong_model_name")
    with pytest.raises(InferenceServerException, match="Request for unknown model"):
        client.infer("wrong_model_name", add_sub(module, VALUES, "INT32"))


def test_a_server_may_be_called_triton(module: ModuleType):
    """What simple_http_health_metadata.py and simple_grpc_health_metadata.py look at."""
    with Server(CONFORMANCE, flags=("--id", "triton")) as named:
        with module.InferenceServerClient(address(named, module)) as client:
            metadata = client.get_server_metadata()
            assert (metadata["name"] if module is triton_http else metadata.name) == "triton"


def test_the_committed_models_are_what_the_scripts_write(tmp_path: Path):
    for script in ("make_models.py", "make_sequences.py"):
        subprocess.run([sys.executable, CONFORMANCE / script, "--out", tmp_path], check=True)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.onnx"))
    assert written == sorted(path.relative_to(CONFORMANCE) for path in CONFORMANCE.rglob("*.onnx"))
    for path in written:
        assert (tmp_path / path).read_bytes() == (CONFORMANCE / path).read_bytes(), path
