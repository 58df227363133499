"""The classification extension, as tritonclient asks for it: `class_count`."""

import asyncio

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as http_aio
from tritonclient.utils import InferenceServerException

import laboratory
from ask import Asker, status, tensors
from server import Server
from test_digits import IMAGES
from test_digits import LABELS as DIGITS

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def expected(row: np.ndarray, count: int, labels: list[str] | None = None) -> list[str]:
    """What Triton answers: C++'s `std::to_string` writes six digits after the point."""
    order = np.argsort(-row.astype(np.float64), kind="stable")[:count]
    written = [f"{row[i]:.6f}" if row.dtype.kind == "f" else str(int(row[i])) for i in order]
    suffixes = [f":{labels[i]}" if labels else "" for i in order]
    return [f"{value}:{i}{suffix}" for value, i, suffix in zip(written, order, suffixes)]


def classes(asker: Asker, model: str, inputs: dict, output: str, count: int) -> np.ndarray:
    wanted = [asker.module.InferRequestedOutput(output, class_count=count, **asker.binary)]
    result = asker.client.infer(model, tensors(asker.module, inputs, **asker.binary), outputs=wanted)
    array = result.as_numpy(output)
    described = result.get_output(output)
    datatype = described["datatype"] if isinstance(described, dict) else described.datatype
    assert (datatype, array.dtype) == ("BYTES", object)
    # A string in JSON, bytes in the binary form.
    return np.vectorize(lambda text: text.decode() if isinstance(text, bytes) else text, otypes=[object])(array)


@pytest.mark.parametrize("count", [1, 3, 10, 1000])
def test_rows_have_their_own_classes_with_labels(asker: Asker, count: int) -> None:
    image = {"image": IMAGES[:5]}
    probabilities = asker.infer("digits", image)["probabilities"]
    found = classes(asker, "digits", image, "probabilities", count)
    assert found.shape == (5, min(count, 10))
    assert found.tolist() == [expected(row, count, WORDS) for row in probabilities]
    assert [WORDS.index(row[0].split(":")[2]) for row in found] == DIGITS[:5].tolist()


def test_beside_an_output_as_it_is(asker: Asker) -> None:
    outputs = [
        asker.module.InferRequestedOutput("label", **asker.binary),
        asker.module.InferRequestedOutput("probabilities", class_count=1, **asker.binary),
    ]
    image = tensors(asker.module, {"image": IMAGES[:1]}, **asker.binary)
    result = asker.client.infer("digits", image, outputs=outputs)
    assert result.as_numpy("label").tolist() == [[int(DIGITS[0])]]
    assert result.as_numpy("probabilities").shape == (1, 1)


def test_a_model_without_a_batch_dimension_has_one_row(lab_asker: Asker) -> None:
    found = classes(lab_asker, "unbatched", {"X": np.array([[1, 5, 2], [9, 3, 4]], np.float32)}, "Y", 2)
    assert found.tolist() == ["9.000000:1", "5.000000:2"]


NUMBERS = [name for name in laboratory.NUMERIC if name not in ("BOOL", "BF16")]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_of_numbers(lab_asker: Asker, datatype: str) -> None:
    if datatype in laboratory.BINARY_ONLY and lab_asker.protocol == "http-json":
        pytest.skip(f"{datatype} has no JSON form in tritonclient")
    names = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
    dtype = names.get(datatype) or np.dtype(datatype.lower())
    array = np.array([laboratory.NUMERIC[datatype][1]], dtype)
    found = classes(lab_asker, f"type_{datatype.lower()}", {"X": array}, "SAME", 3)
    # uint64 and int64 are ordered exactly, not as floats.
    order = sorted(range(4), key=lambda i: (-array[0][i].item(), i))[:3]
    written = [f"{array[0][i].item():.6f}" if array.dtype.kind == "f" else str(array[0][i].item()) for i in order]
    assert found.tolist() == [[f"{value}:{i}" for value, i in zip(written, order)]]


def test_nan_is_last(lab_asker: Asker) -> None:
    values = np.array([[np.nan, -np.inf, 1.5, np.inf, 1.5]], np.float32)
    found = classes(lab_asker, "type_fp32", {"X": values}, "SAME", 5)
    assert found.tolist() == [["inf:3", "1.500000:2", "1.500000:4", "-inf:1", "nan:0"]]


def test_text_has_no_classes(lab_asker: Asker) -> None:
    text = {"X": np.array([["a", "b"]], object)}
    with pytest.raises(InferenceServerException, match="'type_bytes'.*'SAME'.*BYTES") as raised:
        classes(lab_asker, "type_bytes", text, "SAME", 1)
    assert status(raised.value) == "400"


@pytest.mark.parametrize("wrong", [-1, 0.5, "many", True])
def test_a_count_is_a_count(server: Server, wrong: object) -> None:
    body = {
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0] * 64}],
        "outputs": [{"name": "probabilities", "parameters": {"classification": wrong}}],
    }
    answer = requests.post(f"{server.url}/v2/models/digits/infer", json=body, timeout=5)
    assert answer.status_code == 400
    assert "'digits'" in answer.json()["error"] and "'classification'" in answer.json()["error"]


def test_the_asynchronous_clients_and_streams(server: Server) -> None:
    inputs = {"image": IMAGES[:2]}

    async def ask(module, address: str):
        async with module.InferenceServerClient(address) as client:
            outputs = [module.InferRequestedOutput("probabilities", class_count=1)]
            return await client.infer("digits", tensors(module, inputs), outputs=outputs)

    answers = [asyncio.run(ask(http_aio, server.http)), asyncio.run(ask(grpc_aio, server.grpc))]
    streamed: list = []
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: streamed.append((result, error)))
        outputs = [triton_grpc.InferRequestedOutput("probabilities", class_count=1)]
        client.async_stream_infer("digits", tensors(triton_grpc, inputs), outputs=outputs)
        client.stop_stream()
    assert [error for _, error in streamed] == [None]
    for answer in [*answers, streamed[0][0]]:
        labels = [row[0].decode().split(":")[2] for row in answer.as_numpy("probabilities")]
        assert labels == [WORDS[digit] for digit in DIGITS[:2]]


def test_labels_follow_their_file(tmp_path) -> None:
    """Polling notices that labels were changed, and what is no list of labels fails the load."""
    text = """
        backend: "identity"
        max_batch_size: 4
        input [ { name: "X" data_type: TYPE_FP32 dims: [ 2 ] } ]
        output [ { name: "X" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "words.txt" } ]
    """
    laboratory.configure(tmp_path, "words", text)
    (tmp_path / "words" / "words.txt").write_text("no\nyes\n")
    flags = ("--model-control-mode", "explicit", "--load-model", "words")
    with Server(tmp_path, flags=flags) as server, triton_http.InferenceServerClient(server.http) as client:

        def top() -> bytes:
            inputs = tensors(triton_http, {"X": np.array([[0.25, 0.75]], np.float32)})
            wanted = [triton_http.InferRequestedOutput("X", class_count=1)]
            return client.infer("words", inputs, outputs=wanted).as_numpy("X")[0, 0]

        assert top() == b"0.750000:1:yes"
        (tmp_path / "words" / "words.txt").write_text("nein\nja: gewiss\n")
        client.load_model("words")
        assert top() == b"0.750000:1:ja: gewiss"
        (tmp_path / "words" / "words.txt").write_bytes(b"a\n\xff\n")
        with pytest.raises(InferenceServerException, match="label_filename.*not UTF-8"):
            client.load_model("words")
        assert top() == b"0.750000:1:ja: gewiss"
