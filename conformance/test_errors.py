"""Wrong requests, as far as unmodified clients can make them: who is at fault, and what came instead of what."""

import numpy as np
import pytest
import requests
from tritonclient.utils import InferenceServerException

from ask import Asker, status
from server import Server

A = np.zeros((1, 16), np.int32)
WRONG = {
    # case: (model, inputs, outputs, options, status, words that the message must have)
    "unknown model": ("nowhere", {"INPUT0": A}, None, {}, "404", ["unknown model", "nowhere"]),
    "unknown version": ("simple", {"INPUT0": A, "INPUT1": A}, None, {"model_version": "9"}, "404", ["simple", "9"]),
    "missing input": ("simple", {"INPUT0": A}, None, {}, "400", ["simple", "INPUT1"]),
    "extra input": ("simple", {"INPUT0": A, "INPUT1": A, "MORE": A}, None, {}, "400", ["simple", "MORE"]),
    "unknown output": ("simple", {"INPUT0": A, "INPUT1": A}, ["NOPE"], {}, "400", ["simple", "NOPE"]),
    "datatype": ("simple", {"INPUT0": A, "INPUT1": A.astype(np.int64)}, None, {}, "400", ["INPUT1", "INT64", "INT32"]),
    "rank": ("simple", {"INPUT0": A, "INPUT1": A[0]}, None, {}, "400", ["simple", "INPUT1", "16"]),
    "dimension": ("simple", {"INPUT0": A, "INPUT1": A[:, :15]}, None, {}, "400", ["simple", "INPUT1", "15", "16"]),
    "rows differ": ("simple", {"INPUT0": A, "INPUT1": np.tile(A, (2, 1))}, None, {}, "400", ["simple"]),
    "too many rows": ("simple", {n: np.tile(A, (9, 1)) for n in ("INPUT0", "INPUT1")}, None, {}, "400", ["9", "8"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_request(asker: Asker, case: str) -> None:
    model, inputs, outputs, options, expected, words = WRONG[case]
    with pytest.raises(InferenceServerException) as caught:
        asker.infer(model, inputs, outputs, **options)
    message = caught.value.message()
    assert status(caught.value) == expected, message
    for word in words:
        assert word in message, f"{word!r} is not in {message!r}"
    right = asker.infer("simple", {"INPUT0": A + 1, "INPUT1": A})  # and the server goes on
    np.testing.assert_array_equal(right["OUTPUT0"], A + 1)


def test_duplicate_input(asker: Asker) -> None:
    made = [asker.module.InferInput("INPUT0", [1, 16], "INT32").set_data_from_numpy(A) for _ in range(2)]
    with pytest.raises(InferenceServerException) as caught:
        asker.client.infer("simple", made)
    assert status(caught.value) == "400"
    assert "INPUT0" in caught.value.message()


def tensor(data: str, shape: str = "[1, 16]", datatype: str = "FP32") -> str:
    return f'{{"inputs": [{{"name": "INPUT0", "shape": {shape}, "datatype": "{datatype}", "data": {data}}}]}}'


SIXTEEN = "[" + ", ".join("0" * 16) + "]"
BAD_BODIES = {
    "empty": "",
    "no JSON": "hello",
    "cut short": tensor(SIXTEEN)[:-3],
    "not an object": "[]",
    "no inputs": "{}",
    "nan": tensor(SIXTEEN.replace("0", "nan", 1)),
    "NaN as a whole number": tensor(SIXTEEN.replace("0", "NaN", 1), datatype="INT32"),
    "out of range": tensor(SIXTEEN.replace("0", "1e39", 1)),
    "text among numbers": tensor(SIXTEEN.replace("0", '"a"', 1)),
    "too few elements": tensor("[1, 2, 3]"),
    "ragged": tensor("[[1, 2], [3]]", "[2, 2]"),
    "negative dimension": tensor("[]", "[-1, 16]"),
    "shape that overflows": tensor("[]", "[4294967296, 4294967296, 16]"),
    "unknown datatype": tensor(SIXTEEN, datatype="FP8"),
    "no data": '{"inputs": [{"name": "INPUT0", "shape": [1, 16], "datatype": "FP32"}]}',
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_json(server: Server, case: str) -> None:
    answer = requests.post(
        f"{server.url}/v2/models/identity/infer",
        BAD_BODIES[case],
        headers={"content-type": "application/json"},
        timeout=5,
    )
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"]
    good = requests.post(f"{server.url}/v2/models/identity/infer", tensor(SIXTEEN), timeout=5)
    assert good.status_code == 200, good.text


@pytest.mark.parametrize("declared, body_bytes", [(64, 60), (60, 64), (64, 68), (2**63, 64)])
def test_binary_sizes_that_disagree(server: Server, declared: int, body_bytes: int) -> None:
    head = (
        '{"inputs": [{"name": "INPUT0", "shape": [1, 16], "datatype": "FP32", '
        f'"parameters": {{"binary_data_size": {declared}}}}}]}}'
    ).encode()
    answer = requests.post(
        f"{server.url}/v2/models/identity/infer",
        head + bytes(body_bytes),
        headers={"Inference-Header-Content-Length": str(len(head))},
        timeout=5,
    )
    assert answer.status_code == 400, answer.text
    assert "INPUT0" in answer.json()["error"] or "bytes" in answer.json()["error"]


@pytest.mark.parametrize(
    "method, path, expected",
    [
        ("GET", "/v2/models/simple/infer", 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/v2/nothing/here", 404),
        ("GET", "/v2/models/simple/versions/zero", 400),
    ],
)
def test_wrong_method_or_path(server: Server, method: str, path: str, expected: int) -> None:
    answer = requests.request(method, server.url + path, timeout=5)
    assert answer.status_code == expected, answer.text
    assert answer.json()["error"]
