"""Health and metadata, which both protocols must tell alike."""

import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from ask import status
from server import Server

DIGITS = {
    "name": "digits",
    "versions": ["1"],
    "platform": "onnxruntime_onnx",
    "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
    "outputs": [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        {"name": "label", "datatype": "INT64", "shape": [-1, 1]},
    ],
}
SIMPLE_TENSOR = {"datatype": "INT32", "shape": [-1, 16]}


@pytest.fixture(params=["http", "grpc"])
def client(request, server: Server):
    module, address = (triton_http, server.http) if request.param == "http" else (triton_grpc, server.grpc)
    with module.InferenceServerClient(address) as made:
        yield made


def as_dict(client, method: str, *arguments: str) -> dict:
    options = {"as_json": True} if isinstance(client, triton_grpc.InferenceServerClient) else {}
    answer = getattr(client, method)(*arguments, **options)
    for tensor in answer.get("inputs", []) + answer.get("outputs", []):
        tensor["shape"] = [int(extent) for extent in tensor["shape"]]
    return answer


def test_live_and_ready(client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()


@pytest.mark.parametrize("version", ["", "1"])
def test_model_ready(client, version: str) -> None:
    assert client.is_model_ready("digits", version)


def test_what_is_not_there_is_not_ready(client) -> None:
    assert not client.is_model_ready("no_such_model", "")
    assert not client.is_model_ready("digits", "7")


def test_server_metadata(client) -> None:
    metadata = as_dict(client, "get_server_metadata")
    assert metadata["name"] == "adulis"
    assert metadata["version"].count(".") >= 2
    assert "binary_tensor_data" in metadata["extensions"]


@pytest.mark.parametrize("version", ["", "1"])
def test_metadata_of_a_bare_onnx_file(client, version: str) -> None:
    assert as_dict(client, "get_model_metadata", "digits", version) == DIGITS


def test_metadata_of_a_configured_model(client) -> None:
    metadata = as_dict(client, "get_model_metadata", "simple")
    assert metadata["inputs"] == [{"name": name} | SIMPLE_TENSOR for name in ("INPUT0", "INPUT1")]
    assert metadata["outputs"] == [{"name": name} | SIMPLE_TENSOR for name in ("OUTPUT0", "OUTPUT1")]


@pytest.mark.parametrize("model, version", [("no_such_model", ""), ("digits", "7")])
def test_metadata_of_what_is_not_there(client, model: str, version: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.get_model_metadata(model, version)
    assert status(caught.value) == "404"
    assert model in caught.value.message()


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/digits", "/metrics"])
def test_plain_get(server: Server, path: str) -> None:
    base = f"http://{server.metrics}" if path == "/metrics" else server.url
    assert requests.get(base + path, timeout=5).status_code == 200


def test_trailing_version_paths(server: Server) -> None:
    assert requests.get(f"{server.url}/v2/models/digits/versions/1", timeout=5).json() == DIGITS
    assert requests.get(f"{server.url}/v2/models/digits/versions/1/ready", timeout=5).status_code == 200
    assert requests.get(f"{server.url}/v2/models/digits/versions/9/ready", timeout=5).status_code in (400, 404)
