"""Custom parameters: into the model and back, in every form of a request. `custom_identity_int32` answers with them."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2

from models import CONFORMANCE, stream, tensor
from server import ROOT, Server

sys.path.insert(0, str(ROOT / "examples" / "clients"))
import flatbuffers_tensors

MODEL = "custom_identity_int32"
VALUES = np.arange(4, dtype=np.int32).reshape(1, 4)
PARAMETERS = {"text": "a \u00e9", "whole": -7, "float": 0.25, "flag": True, "off": False}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(CONFORMANCE) as running:
        yield running
        assert running.process.poll() is None, f"the server ended by itself:\n{running.log_text()}"


def of_message(response: service_pb2.ModelInferResponse) -> dict:
    """Parameters of a message, without those of streams."""
    values = {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in response.parameters.items()}
    values.pop("triton_final_response", None)
    return values


def message() -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="INPUT0", datatype="INT32", shape=VALUES.shape)
    request.raw_input_contents.append(VALUES.tobytes())
    for name, value in PARAMETERS.items():
        kind = {str: "string_param", int: "int64_param", float: "double_param", bool: "bool_param"}[type(value)]
        setattr(request.parameters[name], kind, value)
    return request


def test_json(server: Server):
    body = {
        "parameters": PARAMETERS,
        "inputs": [{"name": "INPUT0", "datatype": "INT32", "shape": [1, 4], "data": VALUES.ravel().tolist()}],
    }
    answer = requests.post(f"{server.url}/v2/models/{MODEL}/infer", json=body, timeout=10).json()
    assert answer["parameters"] == PARAMETERS
    body["parameters"] = {}
    answer = requests.post(f"{server.url}/v2/models/{MODEL}/infer", json=body, timeout=10).json()
    assert "parameters" not in answer


def test_binary(server: Server):
    with triton_http.InferenceServerClient(server.http) as client:
        answer = client.infer(MODEL, [tensor(triton_http, "INPUT0", VALUES, "INT32")], parameters=PARAMETERS)
    assert answer.get_response()["parameters"] == PARAMETERS


def test_grpc(server: Server):
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        answer = client.infer(MODEL, [tensor(triton_grpc, "INPUT0", VALUES, "INT32")], parameters=PARAMETERS)
    assert of_message(answer.get_response()) == PARAMETERS


def test_grpc_streams(server: Server):
    with stream(server) as opened:
        opened.ask(MODEL, [tensor(triton_grpc, "INPUT0", VALUES, "INT32")], parameters=PARAMETERS)
        assert of_message(opened.next().get_response()) == PARAMETERS


def test_protobuf_over_http(server: Server):
    headers = {"Content-Type": "application/x-protobuf"}
    body = message().SerializeToString()
    answer = requests.post(f"{server.url}/v2/models/{MODEL}/infer", data=body, headers=headers, timeout=10)
    assert of_message(service_pb2.ModelInferResponse.FromString(answer.content)) == PARAMETERS


def test_flatbuffers(server: Server):
    headers = {"Content-Type": "application/x-protobuf", "Accept": flatbuffers_tensors.CONTENT_TYPE}
    body = message().SerializeToString()
    answer = requests.post(f"{server.url}/v2/models/{MODEL}/infer", data=body, headers=headers, timeout=10)
    assert answer.headers["Content-Type"] == flatbuffers_tensors.CONTENT_TYPE
    for name in PARAMETERS:
        assert name.encode() in answer.content
    assert "a \u00e9".encode() in answer.content


def test_requests_that_share_a_batch_keep_their_own(server: Server):
    """They come at once, and the model batches up to 1024 rows."""
    with triton_http.InferenceServerClient(server.http, concurrency=16) as client:
        inputs = [tensor(triton_http, "INPUT0", VALUES, "INT32")]
        asked = [client.async_infer(MODEL, inputs, parameters={"number": index}) for index in range(64)]
        numbers = [answer.get_result().get_response()["parameters"]["number"] for answer in asked]
    assert numbers == list(range(64))


def test_reserved_names_are_refused(server: Server):
    body = {
        "parameters": {"triton_what": 1},
        "inputs": [{"name": "INPUT0", "datatype": "INT32", "shape": [1, 1], "data": [1]}],
    }
    answer = requests.post(f"{server.url}/v2/models/{MODEL}/infer", json=body, timeout=10)
    assert answer.status_code == 400 and "reserved for Triton usage" in answer.json()["error"]


HEADERS = {"X-My-Tenant": "blue", "X-Other": "1"}
PATTERN = "^x-my-"


@pytest.fixture(scope="module")
def forwarding() -> Iterator[Server]:
    flags = ("--http-header-forward-pattern", PATTERN, "--grpc-header-forward-pattern", PATTERN)
    with Server(CONFORMANCE, flags=flags) as running:
        yield running


def test_headers_become_parameters_over_http(forwarding: Server, server: Server):
    inputs = [tensor(triton_http, "INPUT0", VALUES, "INT32")]
    with triton_http.InferenceServerClient(forwarding.http) as client:
        answer = client.infer(MODEL, inputs, headers=dict(HEADERS), parameters={"x-my-tenant": "forged", "own": 1})
    assert answer.get_response()["parameters"] == {"x-my-tenant": "blue", "own": 1}
    with triton_http.InferenceServerClient(server.http) as client:
        answer = client.infer(MODEL, inputs, headers=dict(HEADERS))
    assert "parameters" not in answer.get_response(), "none are forwarded unless a pattern says which"


def test_metadata_becomes_parameters_over_grpc(forwarding: Server):
    headers = {name.lower(): value for name, value in HEADERS.items()}
    inputs = [tensor(triton_grpc, "INPUT0", VALUES, "INT32")]
    with triton_grpc.InferenceServerClient(forwarding.grpc) as client:
        assert of_message(client.infer(MODEL, inputs, headers=headers).get_response()) == {"x-my-tenant": "blue"}
    with stream(forwarding, headers=headers) as opened:
        opened.ask(MODEL, inputs)
        assert of_message(opened.next().get_response()) == {"x-my-tenant": "blue"}


def test_headers_become_parameters_in_every_form(forwarding: Server):
    url, headers = f"{forwarding.url}/v2/models/{MODEL}", {"Content-Type": "application/x-protobuf", **HEADERS}
    answer = requests.post(f"{url}/infer", data=message().SerializeToString(), headers=headers, timeout=10)
    found = of_message(service_pb2.ModelInferResponse.FromString(answer.content))
    assert found == {"x-my-tenant": "blue", **PARAMETERS}
    answer = requests.post(f"{url}/generate", json={"INPUT0": [1, 2]}, headers=HEADERS, timeout=10)
    assert answer.json()["x-my-tenant"] == "blue"
