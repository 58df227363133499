"""Repositories and files as they come: corrupt models among good ones, bare files, drains."""

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import requests
import tritonclient.http as triton_http

import laboratory
from ask import Asker
from server import EXAMPLES, Server

DIGITS = EXAMPLES / "digits" / "1" / "model.onnx"


def model(repository: Path, name: str, content: bytes) -> None:
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)


def test_corrupt_models_among_good_ones(tmp_path: Path) -> None:
    whole = DIGITS.read_bytes()
    model(tmp_path, "good", whole)
    bad = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"I am no model", "zeros": bytes(4096)}
    for name, content in bad.items():
        model(tmp_path, name, content)
    with Server(tmp_path, ready=False) as server:
        server.await_ready("good")
        for protocol in ("http-binary", "grpc"):
            asker = Asker(server, protocol)
            answer = asker.infer("good", {"image": np.zeros((1, 1, 8, 8), np.float32)})
            assert answer["label"].shape == (1, 1)
            asker.close()
        for name in bad:
            assert requests.get(f"{server.url}/v2/models/{name}/ready", timeout=5).status_code != 200
            answer = requests.post(f"{server.url}/v2/models/{name}/infer", json={"inputs": []}, timeout=5)
            assert 400 <= answer.status_code < 600 and name in answer.json()["error"]
            assert any(name in str(line) for line in server.log), f"the log does not say why {name} is not ready"


def test_a_bare_file_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "reader.onnx"
    shutil.copy(DIGITS, path)
    with Server(path) as server, triton_http.InferenceServerClient(server.http) as client:
        assert client.is_model_ready("reader")
        assert client.get_model_metadata("reader")["inputs"][0]["shape"] == [-1, 1, 8, 8]


def test_files_and_repositories_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "reader.onnx"
    shutil.copy(DIGITS, path)
    laboratory.shapes(tmp_path / "repository")
    with Server(path, tmp_path / "repository") as server, triton_http.InferenceServerClient(server.http) as client:
        assert client.is_model_ready("reader")
        assert client.is_model_ready("unbatched")


def test_the_highest_version_answers(tmp_path: Path) -> None:
    model(tmp_path, "digits", DIGITS.read_bytes())
    shutil.copytree(tmp_path / "digits" / "1", tmp_path / "digits" / "3")
    with Server(tmp_path) as server, triton_http.InferenceServerClient(server.http) as client:
        tensor = triton_http.InferInput("image", [1, 1, 8, 8], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 1, 8, 8), np.float32))
        assert client.infer("digits", [tensor]).get_response()["model_version"] == "3"


def test_a_drain_answers_what_it_has_taken(tmp_path: Path) -> None:
    laboratory.misbehaving(tmp_path)
    with Server(tmp_path) as server:
        row = np.full((1, 16), 7, np.float32)
        found: list[np.ndarray] = []

        def ask() -> None:
            tensor = triton_http.InferInput("INPUT0", [1, 16], "FP32")
            tensor.set_data_from_numpy(row)
            with triton_http.InferenceServerClient(server.http) as client:
                found.append(client.infer("slow", [tensor]).as_numpy("OUTPUT0"))

        thread = threading.Thread(target=ask)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.samples("adulis_executing_batches", model="slow"):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert server.stop() == 0
        thread.join(10)
        assert len(found) == 1
        np.testing.assert_array_equal(found[0], row)
