"""Every datatype of the protocol, in and out, at its extremes."""

import json

import ml_dtypes
import numpy as np
import pytest
import requests
import tritonclient.http as triton_http
from tritonclient.utils import triton_to_np_dtype

from ask import Asker, tensors
from laboratory import BINARY_ONLY, NUMERIC
from server import Server

TEXTS = ["", "plain", "ünïcödé 漢字 🜁", 'quotes " and \\ and \n newline', "x" * 5000]


def numpy_type(name: str) -> type:
    return ml_dtypes.bfloat16 if name == "BF16" else triton_to_np_dtype(name)


@pytest.mark.parametrize("name", NUMERIC)
def test_numeric(lab_asker: Asker, name: str) -> None:
    if lab_asker.protocol == "http-json" and name in BINARY_ONLY:
        pytest.skip(f"{name} has no JSON form in Triton's clients")
    sent = np.array([NUMERIC[name][1]] * 3, numpy_type(name))
    answer = lab_asker.infer(f"type_{name.lower()}", {"X": sent})
    same = answer["SAME"]
    assert same.shape == sent.shape
    assert same.astype(sent.dtype).tobytes() == sent.tobytes()
    np.testing.assert_array_equal(answer["WIDE"], sent.astype(np.float64))


SPECIAL = [np.nan, np.inf, -np.inf, -0.0]


@pytest.mark.parametrize("name", ["FP32", "FP64", "FP16"])
def test_values_that_json_lacks(lab_asker: Asker, name: str) -> None:
    if lab_asker.protocol == "http-json" and name in BINARY_ONLY:
        pytest.skip(f"{name} has no JSON form in Triton's clients")
    sent = np.array([SPECIAL], numpy_type(name))
    same = lab_asker.infer(f"type_{name.lower()}", {"X": sent})["SAME"]
    assert same.tobytes() == sent.tobytes()


@pytest.mark.parametrize("form", ["string", "literal"])
def test_values_that_json_lacks_in_either_form_for_tritonclient(lab: Server, form: str) -> None:
    sent = np.array([SPECIAL], np.float32)
    with triton_http.InferenceServerClient(lab.http) as client:
        inputs = tensors(triton_http, {"X": sent}, binary_data=False)
        outputs = [triton_http.InferRequestedOutput("SAME", binary_data=False)]
        result = client.infer("type_fp32", inputs, outputs=outputs, parameters={"non_finite": form})
    assert result.as_numpy("SAME").tobytes() == sent.tobytes()


@pytest.mark.parametrize(
    "parameters, strict, expected",
    [
        ({}, True, ["NaN", "Infinity", "-Infinity", -0.0]),
        ({"non_finite": "null"}, True, [None, None, None, -0.0]),
        ({"non_finite": "literal"}, False, SPECIAL),
    ],
)
def test_values_that_json_lacks_for_other_readers(lab: Server, parameters: dict, strict: bool, expected: list) -> None:
    tensor = {"name": "X", "datatype": "FP64", "shape": [1, 4], "data": SPECIAL}
    # Python's json writes bare words.
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": "SAME"}], "parameters": parameters})
    assert "NaN, Infinity, -Infinity" in body
    answer = requests.post(f"{lab.url}/v2/models/type_fp64/infer", body, timeout=5)
    assert answer.status_code == 200, answer.text

    def refuse(word: str) -> float:
        assert not strict, f"{word} is no JSON"
        return float(word)

    # What JavaScript's JSON.parse takes has no bare words in it, and its Number("NaN") is NaN, as Python's float is.
    data = json.loads(answer.text, parse_constant=refuse)["outputs"][0]["data"]
    np.testing.assert_array_equal(np.array(data, object).astype(float), np.array(expected, object).astype(float))
    assert [type(found) for found in data] == [type(value) for value in expected]


def test_an_unknown_form_of_values_that_json_lacks(lab: Server) -> None:
    body = {"inputs": [], "parameters": {"non_finite": "nan"}}
    answer = requests.post(f"{lab.url}/v2/models/type_fp64/infer", json=body, timeout=5)
    assert answer.status_code == 400
    assert "'non_finite'" in answer.json()["error"] and "'literal'" in answer.json()["error"]


def test_values_that_json_lacks_over_v1(lab: Server) -> None:
    url = f"{lab.url}/v1/models/type_fp32:predict"
    answer = requests.post(url, json={"inputs": [["NaN", "-Infinity", 1.5]]}, timeout=5).json()
    assert answer["outputs"]["SAME"] == [["NaN", "-Infinity", 1.5]]


def test_bytes_of_text(lab_asker: Asker) -> None:
    sent = np.array([[text.encode() for text in TEXTS]], np.object_)
    same = lab_asker.infer("type_bytes", {"X": sent})["SAME"]
    assert same.shape == sent.shape
    found = [item if isinstance(item, bytes) else item.encode() for item in same[0]]
    assert found == list(sent[0])


def test_bytes_that_are_no_text(lab_asker: Asker) -> None:
    if lab_asker.protocol == "http-json":
        pytest.skip("JSON carries text only")
    sent = np.array([[b"\x00", b"a\x00b", b"\xff\xfe\x80", bytes(range(256))]], np.object_)
    assert list(lab_asker.infer("type_bytes", {"X": sent})["SAME"][0]) == list(sent[0])


def test_several_inputs_of_different_datatypes(lab_asker: Asker) -> None:
    inputs = {
        "FLAGS": np.array([[True, False, True], [False, False, True]]),
        "NUMBERS": np.array([[1, 2, -3], [4, 5, 2**40]]),
        "TEXT": np.array([[b"one"], [b"two"]], np.object_),
    }
    answer = lab_asker.infer("mixed", inputs)
    np.testing.assert_array_equal(answer["KEPT"], [[1, 0, -3], [0, 0, 2**40]])
    assert [str(item, "utf-8") if isinstance(item, bytes) else item for item in answer["SAID"][:, 0]] == ["one", "two"]


def test_scalars(lab_asker: Asker) -> None:
    answer = lab_asker.infer("scalar", {"A": np.array(1.5, np.float32), "B": np.array(2.25, np.float32)})
    assert answer["SUM"].shape == ()
    assert answer["SUM"] == 3.75


def test_a_model_without_a_batch_dimension(lab_asker: Asker) -> None:
    sent = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(lab_asker.infer("unbatched", {"X": sent})["Y"], sent.T)


def test_an_optional_input(lab_asker: Asker) -> None:
    sent = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(lab_asker.infer("optional", {"A": sent})["SUM"], sent + [10, 20])
    given = np.array([1, 1], np.float32)
    np.testing.assert_array_equal(lab_asker.infer("optional", {"A": sent, "B": given})["SUM"], sent + 1)
    np.testing.assert_array_equal(lab_asker.infer("optional", {"A": sent})["SUM"], sent + [10, 20])


def test_no_elements(lab_asker: Asker) -> None:
    sent = np.zeros((1, 0), np.float32)
    answer = lab_asker.infer("type_fp32", {"X": sent})
    assert answer["SAME"].shape == (1, 0)


def test_a_large_tensor(lab_asker: Asker) -> None:
    sent = np.random.default_rng(1).standard_normal((4, 50_000), dtype=np.float32)
    np.testing.assert_array_equal(lab_asker.infer("type_fp32", {"X": sent})["SAME"], sent)
