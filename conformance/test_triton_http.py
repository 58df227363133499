"""tritonclient's HTTP clients: what they can send and what they make of the answer."""

import asyncio
import gzip
import json
import zlib

import numpy as np
import pytest
import requests
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_aio

from ask import tensors
from server import Server

A = np.arange(16, dtype=np.int32)[None]
B = np.full((1, 16), 3, np.int32)
SIMPLE = {"INPUT0": A, "INPUT1": B}


@pytest.fixture
def client(server: Server):
    with triton_http.InferenceServerClient(server.http, concurrency=8) as made:
        yield made


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_binary_and_json_in_any_mixture(client, binary_in: bool, binary_out: bool | None) -> None:
    inputs = tensors(triton_http, SIMPLE, binary_data=binary_in)
    outputs = None
    if binary_out is not None:
        outputs = [triton_http.InferRequestedOutput(name, binary_data=binary_out) for name in ("OUTPUT0", "OUTPUT1")]
    result = client.infer("simple", inputs, outputs=outputs)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + B)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), A - B)
    described = result.get_output("OUTPUT0")
    assert ("data" in described) == (binary_out is False)
    assert (described.get("parameters", {}).get("binary_data_size") == 64) == (binary_out is not False)


def test_one_input_binary_the_other_json(client) -> None:
    inputs = tensors(triton_http, {"INPUT0": A}, binary_data=True) + tensors(
        triton_http, {"INPUT1": B}, binary_data=False
    )
    outputs = [
        triton_http.InferRequestedOutput("OUTPUT0", binary_data=False),
        triton_http.InferRequestedOutput("OUTPUT1", binary_data=True),
    ]
    result = client.infer("simple", inputs, outputs=outputs)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + B)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), A - B)


def test_only_the_requested_output_in_the_requested_order(client) -> None:
    inputs = tensors(triton_http, SIMPLE)
    for names in (["OUTPUT1"], ["OUTPUT1", "OUTPUT0"]):
        outputs = [triton_http.InferRequestedOutput(name) for name in names]
        answer = client.infer("simple", inputs, outputs=outputs).get_response()
        assert [output["name"] for output in answer["outputs"]] == names


def test_id_and_version_come_back(client) -> None:
    answer = client.infer("simple", tensors(triton_http, SIMPLE), request_id="no. 17", model_version="1").get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("no. 17", "simple", "1")


@pytest.mark.parametrize("asked", [None, "gzip", "deflate"])
@pytest.mark.parametrize("sent", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression(client, sent: str | None, asked: str | None, binary: bool) -> None:
    rows = {"INPUT0": np.tile(A, (8, 1)), "INPUT1": np.tile(B, (8, 1))}
    result = client.infer(
        "simple",
        tensors(triton_http, rows, binary_data=binary),
        outputs=[triton_http.InferRequestedOutput("OUTPUT0", binary_data=binary)],
        request_compression_algorithm=sent,
        response_compression_algorithm=asked,
    )
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), rows["INPUT0"] + rows["INPUT1"])


@pytest.mark.parametrize("coding, unpack", [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_a_large_answer_really_is_compressed(server: Server, coding: str, unpack) -> None:
    body = {"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [64, 16], "data": [0] * 1024}]}
    answer = requests.post(
        f"{server.url}/v2/models/identity/infer", json=body, headers={"accept-encoding": coding}, stream=True, timeout=5
    )
    assert answer.headers["content-encoding"] == coding
    raw = answer.raw.read(decode_content=False)
    assert json.loads(unpack(raw))["outputs"][0]["shape"] == [64, 16]


def test_async_infer_answers_each_its_own(client) -> None:
    waiting = [
        (number, client.async_infer("simple", tensors(triton_http, {"INPUT0": A + number, "INPUT1": B})))
        for number in range(40)
    ]
    for number, request in waiting:
        np.testing.assert_array_equal(request.get_result().as_numpy("OUTPUT0"), A + number + B)


def test_asynchronous_client(server: Server) -> None:
    async def ask() -> None:
        async with triton_aio.InferenceServerClient(server.http) as client:
            assert await client.is_server_ready()

            async def one(number: int) -> None:
                inputs = tensors(triton_aio, {"INPUT0": A + number, "INPUT1": B})
                result = await client.infer("simple", inputs, request_id=str(number))
                assert result.get_response()["id"] == str(number)
                np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), A + number - B)

            await asyncio.gather(*map(one, range(100)))

    asyncio.run(ask())


def test_the_body_can_be_made_and_read_apart_from_the_client(server: Server) -> None:
    body, header_bytes = triton_http.InferenceServerClient.generate_request_body(tensors(triton_http, SIMPLE))
    answer = requests.post(
        f"{server.url}/v2/models/simple/versions/1/infer",
        body,
        headers={"Inference-Header-Content-Length": str(header_bytes)},
        timeout=5,
    )
    assert answer.status_code == 200, answer.text
    result = triton_http.InferenceServerClient.parse_response_body(
        answer.content, header_length=int(answer.headers["Inference-Header-Content-Length"])
    )
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + B)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_body_of_one_tensor_alone(server: Server, rows: int) -> None:
    data = np.arange(16 * rows, dtype=np.float32).reshape(rows, 16)
    answer = requests.post(
        f"{server.url}/v2/models/identity/infer",
        data=data.tobytes(),
        headers={"Inference-Header-Content-Length": "0"},
        timeout=5,
    )
    assert answer.status_code == 200, answer.text
    header = int(answer.headers["Inference-Header-Content-Length"])
    result = triton_http.InferenceServerClient.parse_response_body(answer.content, header_length=header)
    assert np.array_equal(result.as_numpy("OUTPUT0"), data)


def test_a_body_of_one_tensor_that_does_not_fit(server: Server) -> None:
    def refusal(model: str, size: int) -> str:
        answer = requests.post(
            f"{server.url}/v2/models/{model}/infer",
            data=bytes(size),
            headers={"Inference-Header-Content-Length": "0"},
            timeout=5,
        )
        assert answer.status_code == 400, answer.text
        return answer.json()["error"]

    assert "input 'INPUT0': 63 bytes do not fill FP32 [-1,16]" in refusal("identity", 63)
    assert "the model requires 2" in refusal("simple", 64)
    assert "Request for unknown model" in requests.post(
        f"{server.url}/v2/models/nobody/infer",
        data=b"1",
        headers={"Inference-Header-Content-Length": "0"},
        timeout=5,
    ).json()["error"]
