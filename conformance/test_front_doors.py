"""The further ways in: V1, Protocol Buffers and FlatBuffers over plain HTTP, SageMaker and Vertex AI.

KServe's own V1 client is in kserve_cases.py.
"""

import base64
import sys

import flatbuffers
import numpy as np
import pytest
import requests
from tritonclient.grpc import service_pb2

from server import EXAMPLES, ROOT, Server

sys.path.insert(0, str(ROOT / "examples" / "clients"))
import flatbuffers_tensors

PROTOBUF = "application/x-protobuf"
FLATBUFFERS = flatbuffers_tensors.CONTENT_TYPE
A = np.arange(32, dtype=np.int32).reshape(2, 16)
B = np.full((2, 16), 3, np.int32)


def post(url: str, body: bytes | dict, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        return requests.post(url, json=body, headers=named, timeout=10)
    return requests.post(url, data=body, headers=named, timeout=10)


def refused(answer: requests.Response, status: int, part: str) -> None:
    assert answer.status_code == status, answer.text
    assert part in answer.json()["error"]


def protobuf(model: str = "") -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=model, id="p-1")
    for name, array in (("INPUT0", A), ("INPUT1", B)):
        request.inputs.add(name=name, datatype="INT32", shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


def infer(server: Server, content_type: str, body: bytes, **headers: str) -> requests.Response:
    return post(f"{server.url}/v2/models/simple/infer", body, content_type=content_type, **headers)


def test_protobuf_over_http(server: Server) -> None:
    answer = infer(server, PROTOBUF, protobuf("simple").SerializeToString())
    assert answer.headers["content-type"] == PROTOBUF
    response = service_pb2.ModelInferResponse.FromString(answer.content)
    assert (response.model_name, response.model_version, response.id) == ("simple", "1", "p-1")
    outputs = {
        output.name: np.frombuffer(raw, np.int32).reshape(output.shape)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }
    np.testing.assert_array_equal(outputs["OUTPUT0"], A + B)
    np.testing.assert_array_equal(outputs["OUTPUT1"], A - B)


def test_typed_contents_over_http(server: Server) -> None:
    request = service_pb2.ModelInferRequest()
    for name, array in (("INPUT0", A), ("INPUT1", B)):
        tensor = request.inputs.add(name=name, datatype="INT32", shape=array.shape)
        tensor.contents.int_contents.extend(array.flatten().tolist())
    answer = infer(server, PROTOBUF, request.SerializeToString(), accept="application/json")
    data = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    assert data["OUTPUT0"] == (A + B).flatten().tolist()


def test_flatbuffers_over_http(server: Server) -> None:
    body = flatbuffers_tensors.encode_request({"INPUT0": A, "INPUT1": B})
    answer = infer(server, FLATBUFFERS, body)
    assert answer.headers["content-type"] == FLATBUFFERS, answer.text
    outputs = flatbuffers_tensors.decode_response(answer.content)
    np.testing.assert_array_equal(outputs["OUTPUT0"], A + B)
    np.testing.assert_array_equal(outputs["OUTPUT1"], A - B)


@pytest.mark.parametrize("columns", [1, 100, 300_000])
@pytest.mark.parametrize("datatype", ["bool", "uint8", "int64", "float16", "float32"])
def test_flatbuffers_of_any_size(lab: Server, columns: int, datatype: str) -> None:
    array = (np.arange(2 * columns) % 2).reshape(2, columns).astype(datatype)
    body = flatbuffers_tensors.encode_request({"X": array})
    name = datatype.replace("float", "fp")
    answer = post(f"{lab.url}/v2/models/type_{name}/infer", body, content_type=FLATBUFFERS)
    np.testing.assert_array_equal(flatbuffers_tensors.decode_response(answer.content)["SAME"], array)


def test_accept_chooses_the_form(server: Server) -> None:
    body = flatbuffers_tensors.encode_request({"INPUT0": A, "INPUT1": B})
    answer = infer(server, FLATBUFFERS, body, accept=PROTOBUF)
    response = service_pb2.ModelInferResponse.FromString(answer.content)
    assert response.raw_output_contents[0] == (A + B).tobytes()
    answer = infer(server, PROTOBUF, protobuf().SerializeToString(), accept=FLATBUFFERS)
    np.testing.assert_array_equal(flatbuffers_tensors.decode_response(answer.content)["OUTPUT0"], A + B)


def parameter(*values: str) -> bytes:
    """A request of nothing but one parameter, with these of the values that a parameter can have."""
    builder = flatbuffers.Builder(0)
    name, text = builder.CreateString("priority"), builder.CreateString("1")
    builder.StartObject(6)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    if "int64" in values:
        builder.PrependInt64Slot(2, 1, None)
    if "string" in values:
        builder.PrependUOffsetTRelativeSlot(5, text, 0)
    one = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(one)
    parameters = builder.EndVector()
    builder.StartObject(6)
    builder.PrependUOffsetTRelativeSlot(3, parameters, 0)
    builder.Finish(builder.EndObject(), file_identifier=flatbuffers_tensors.FILE_IDENTIFIER)
    return bytes(builder.Output())


def test_errors_are_json_in_every_form(server: Server) -> None:
    refused(infer(server, PROTOBUF, protobuf("identity").SerializeToString()), 400, "another model: 'identity'")
    refused(infer(server, PROTOBUF, b"{}"), 400, "model 'simple': invalid message")
    refused(infer(server, FLATBUFFERS, b"{}"), 400, "model 'simple': invalid message")
    refused(infer(server, "image/png", b"{}"), 415, "image/png")
    wrong = flatbuffers_tensors.encode_request({"INPUT0": A[:, :3], "INPUT1": B})
    refused(infer(server, FLATBUFFERS, wrong), 400, "INPUT0")
    for values, found in (((), "none"), (("int64", "string"), "several")):
        refused(infer(server, FLATBUFFERS, parameter(*values)), 400, f"expected exactly one value, got {found}")
    for values in (("int64",), ("string",)):
        refused(infer(server, FLATBUFFERS, parameter(*values)), 400, "INPUT0")


def predict(server: Server, model: str, body: dict) -> requests.Response:
    return post(f"{server.url}/v1/models/{model}:predict", body)


def test_v1_rows_and_columns(server: Server) -> None:
    rows = [{"INPUT0": a.tolist(), "INPUT1": b.tolist()} for a, b in zip(A, B, strict=True)]
    predictions = predict(server, "simple", {"signature_name": "serving_default", "instances": rows}).json()
    expected = [{"OUTPUT0": s.tolist(), "OUTPUT1": d.tolist()} for s, d in zip(A + B, A - B, strict=True)]
    assert predictions == {"predictions": expected}
    outputs = predict(server, "simple/versions/1", {"inputs": {"INPUT0": A.tolist(), "INPUT1": B.tolist()}}).json()
    assert outputs == {"outputs": {"OUTPUT0": (A + B).tolist(), "OUTPUT1": (A - B).tolist()}}


def test_v1_of_one_input_is_bare(server: Server) -> None:
    row = np.linspace(0, 1, 16, dtype=np.float32)
    for body in ({"instances": [row.tolist()]}, {"instances": [{"INPUT0": row.tolist()}]}):
        answer = predict(server, "identity", body).json()["predictions"]
        np.testing.assert_array_equal(np.array(answer, np.float32), [row])


def test_v1_bytes(lab: Server) -> None:
    elements = [b"text", b"\xff\x00", "é".encode()]
    coded = [{"b64": base64.b64encode(element).decode()} for element in elements]
    answer = predict(lab, "type_bytes", {"instances": [[element] for element in coded]})
    assert answer.json() == {"predictions": [["text"], [{"b64": "/wA="}], ["é"]]}, answer.text


def test_v1_status_and_errors(server: Server) -> None:
    assert {"simple", "identity", "digits"} <= set(requests.get(f"{server.url}/v1/models", timeout=5).json()["models"])
    status = requests.get(f"{server.url}/v1/models/simple", timeout=5).json()
    assert (status["name"], status["ready"]) == ("simple", True)
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    assert requests.get(f"{server.url}/", timeout=5).json() == {"status": "alive"}
    refused(predict(server, "nowhere", {"instances": [1]}), 404, "nowhere")
    refused(predict(server, "identity", {"instances": [[1, 2], [3]]}), 400, "lists of one length")
    refused(predict(server, "identity", {"instances": [[1, 2]]}), 400, "INPUT0")
    refused(predict(server, "identity", {}), 400, "missing 'instances' or 'inputs'")
    refused(post(f"{server.url}/v1/models/identity:explain", {"instances": []}), 404, "no such route")


def test_sagemaker_and_vertex_ai() -> None:
    flags = ["sagemaker.enabled=true", "sagemaker.port=0", "vertex_ai.enabled=true", "vertex_ai.port=0"]
    flags += ["vertex_ai.model=simple"]
    with Server(EXAMPLES / "identity", EXAMPLES / "simple", flags=tuple(f"--set={flag}" for flag in flags)) as server:
        hosted = {
            entry["protocol"]: entry["address"].replace("0.0.0.0", "127.0.0.1")
            for entry in server.log
            if isinstance(entry, dict) and entry.get("message") == "listening"
        }
        assert requests.get(f"http://{hosted['sagemaker']}/ping", timeout=5).status_code == 200
        url = f"http://{hosted['sagemaker']}/invocations"
        row = np.arange(16.0).tolist()
        refused(post(url, {"instances": [row]}), 400, "which of 2 models")
        answer = post(url, {"instances": [row]}, X_Amzn_SageMaker_Target_Model="identity")
        assert answer.json() == {"predictions": [row]}

        assert requests.get(f"http://{hosted['vertex_ai']}/health", timeout=5).status_code == 200
        url = f"http://{hosted['vertex_ai']}/predict"
        answer = post(url, {"instances": [{"INPUT0": A[0].tolist(), "INPUT1": B[0].tolist()}]})
        assert answer.json()["predictions"][0]["OUTPUT0"] == (A + B)[0].tolist()
        answer = post(url, b"", X_Vertex_Ai_Triton_Redirect="v2/models/identity")
        assert answer.json()["name"] == "identity"
