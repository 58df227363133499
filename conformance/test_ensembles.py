"""Ensembles as Triton's clients see them: one model, made of others, over HTTP and gRPC."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from ask import PROTOCOLS, Asker, status
from laboratory import configure, save, value
from server import Server

EXPLICIT = ("--model-control-mode", "explicit")


def arithmetic(repository: Path, name: str, operation: str, operand: float) -> None:
    """IN [batch, 4] → OUT = IN (+ or ×) operand."""
    shape = ["batch", 4]
    node = helper.make_node(operation, ["IN", "operand"], ["OUT"])
    tensors = [value("IN", TensorProto.FLOAT, shape)], [value("OUT", TensorProto.FLOAT, shape)]
    save(repository, name, [node], *tensors, [helper.make_tensor("operand", TensorProto.FLOAT, [1], [operand])])


def step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> str:
    maps = [("input_map", inputs), ("output_map", outputs)]
    pairs = [f'{side} {{ key: "{key}" value: "{tensor}" }}' for side, names in maps for key, tensor in names.items()]
    return f'{{ model_name: "{model}" model_version: -1 {" ".join(pairs)} }}'


def ensemble(repository: Path, name: str, outputs: list[str], steps: list[str]) -> None:
    told = ", ".join(f'{{ name: "{output}" data_type: TYPE_FP32 dims: [ 4 ] }}' for output in outputs)
    text = f"""
        name: "{name}"
        platform: "ensemble"
        max_batch_size: 8
        input [ {{ name: "X" data_type: TYPE_FP32 dims: [ 4 ] }} ]
        output [ {told} ]
        ensemble_scheduling {{ step [ {", ".join(steps)} ] }}
    """
    configure(repository, name, text)


def diamond(repository: Path) -> None:
    """Y = (X + 1) × 2 + (X + 1) × 3, PLUS = X + 1, in four steps that are written in no order."""
    arithmetic(repository, "plus_one", "Add", 1)
    arithmetic(repository, "double", "Mul", 2)
    arithmetic(repository, "triple", "Mul", 3)
    shape = ["batch", 4]
    inputs = [value("A", TensorProto.FLOAT, shape), value("B", TensorProto.FLOAT, shape)]
    save(repository, "sum", [helper.make_node("Add", ["A", "B"], ["OUT"])], inputs, [value("OUT", TensorProto.FLOAT, shape)])
    steps = [
        step("sum", {"A": "doubled", "B": "tripled"}, {"OUT": "Y"}),
        step("double", {"IN": "PLUS"}, {"OUT": "doubled"}),
        step("triple", {"IN": "PLUS"}, {"OUT": "tripled"}),
        step("plus_one", {"IN": "X"}, {"OUT": "PLUS"}),
    ]
    ensemble(repository, "diamond", ["Y", "PLUS"], steps)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("models")
    diamond(repository)
    ensemble(repository, "outer", ["Z"], [step("plus_one", {"IN": "inner"}, {"OUT": "Z"}), step("diamond", {"X": "X"}, {"Y": "inner"})])
    with Server(repository) as server:
        yield server


@pytest.fixture(params=PROTOCOLS)
def asker(server: Server, request: pytest.FixtureRequest) -> Iterator[Asker]:
    asker = Asker(server, request.param)
    yield asker
    asker.close()


def rows(count: int) -> np.ndarray:
    return np.arange(count * 4, dtype=np.float32).reshape(count, 4)


def test_all_outputs_and_some(asker: Asker) -> None:
    x = rows(3)
    answer = asker.infer("diamond", {"X": x})
    assert list(answer) == ["Y", "PLUS"]
    np.testing.assert_array_equal(answer["Y"], (x + 1) * 5)
    np.testing.assert_array_equal(answer["PLUS"], x + 1)
    answer = asker.infer("diamond", {"X": x}, ["PLUS"])
    assert list(answer) == ["PLUS"]
    np.testing.assert_array_equal(answer["PLUS"], x + 1)
    np.testing.assert_array_equal(asker.infer("outer", {"X": x})["Z"], (x + 1) * 5 + 1)


def test_bad_requests_name_the_ensemble_and_good_ones_go_on(asker: Asker) -> None:
    for inputs, expected in [
        ({"X": rows(9)}, "model 'diamond': 9 rows in one request, at most 8 are allowed"),
        ({"X": rows(1)[:, :3].copy()}, r"model 'diamond': input 'X' has shape \[1,3\], expected \[-1,4\]"),
        ({"X": rows(1).astype(np.float64)}, "model 'diamond': input 'X' has datatype FP64, expected FP32"),
        ({"IN": rows(1)}, "model 'diamond': unexpected input 'IN'"),
    ]:
        with pytest.raises(InferenceServerException, match=expected) as refused:
            asker.infer("diamond", inputs)
        assert status(refused.value) == "400"
    np.testing.assert_array_equal(asker.infer("diamond", {"X": rows(1)}, ["Y"])["Y"], (rows(1) + 1) * 5)


def test_metadata_and_configuration(asker: Asker) -> None:
    options = {"as_json": True} if asker.module is triton_grpc else {}
    metadata = asker.client.get_model_metadata("diamond", **options)
    assert (metadata["name"], metadata["platform"], metadata["versions"]) == ("diamond", "ensemble", ["1"])
    assert [int(extent) for extent in metadata["inputs"][0]["shape"]] == [-1, 4]
    config = asker.client.get_model_config("diamond", **options)
    config = config.get("config", config)
    assert (config["platform"], config["max_batch_size"]) == ("ensemble", 8)
    (first, *_) = config["ensemble_scheduling"]["step"]
    assert (first["model_name"], int(first["model_version"])) == ("sum", -1)
    assert first["input_map"] == {"A": "doubled", "B": "tripled"} and first["output_map"] == {"OUT": "Y"}
    assert "dynamic_batching" not in config and not config.get("instance_group")


def test_statistics_count_the_ensemble_and_its_models(tmp_path: Path) -> None:
    diamond(tmp_path)
    with Server(tmp_path) as server:
        asker = Asker(server, "http-binary")
        for count in (1, 3):
            asker.infer("diamond", {"X": rows(count)})
        asker.infer("diamond", {"X": rows(1)}, ["PLUS"])
        of = lambda name: asker.client.get_inference_statistics(name)["model_stats"][0]
        whole = of("diamond")
        assert (whole["inference_count"], whole["execution_count"]) == (5, 3)
        stages = whole["inference_stats"]
        assert stages["success"]["count"] == 3 and stages["fail"]["count"] == 0
        assert [batch["batch_size"] for batch in whole["batch_stats"]] == [1, 3]
        parts = {name: of(name) for name in ("plus_one", "double", "triple", "sum")}
        assert {name: part["inference_count"] for name, part in parts.items()} == {
            "plus_one": 5, "double": 4, "triple": 4, "sum": 4,
        }, "the last request asked for what one of them gives"
        inference = sum(part["inference_stats"]["compute_infer"]["ns"] for part in parts.values())
        assert stages["compute_infer"]["ns"] == inference
        assert server.samples("adulis_inference_rows_total", model="diamond") == 5
        asker.close()


def test_an_ensemble_comes_and_goes_with_its_models(tmp_path: Path) -> None:
    diamond(tmp_path)
    for protocol in ("http-binary", "grpc"):
        with Server(tmp_path, flags=EXPLICIT) as server:
            asker = Asker(server, protocol)
            client = asker.client
            client.load_model("diamond")
            for name in ("diamond", "plus_one", "double", "triple", "sum"):
                assert client.is_model_ready(name), name
            np.testing.assert_array_equal(asker.infer("diamond", {"X": rows(2)}, ["Y"])["Y"], (rows(2) + 1) * 5)

            client.unload_model("triple")
            assert not client.is_model_ready("diamond")
            assert client.is_server_ready(), "that was asked for"
            with pytest.raises(InferenceServerException, match=r"step\[2\]: model 'triple' is unloaded") as refused:
                asker.infer("diamond", {"X": rows(1)})
            assert status(refused.value) == "503"
            client.load_model("triple")
            assert client.is_model_ready("diamond")

            client.unload_model("diamond")
            assert client.is_model_ready("sum")
            client.load_model("diamond")
            client.unload_model("diamond", unload_dependents=True)
            left = [name for name in ("plus_one", "double", "sum", "triple") if client.is_model_ready(name)]
            assert left == ["triple"], "it was loaded by its own name"
            asker.close()


def test_a_step_is_loaded_again_under_traffic(tmp_path: Path) -> None:
    diamond(tmp_path)
    with Server(tmp_path, flags=(*EXPLICIT, "--load-model", "diamond")) as server:
        stop, wrong = threading.Event(), []

        def ask(protocol: str) -> None:
            asker = Asker(server, protocol)
            while not stop.is_set():
                try:
                    answer = asker.infer("diamond", {"X": np.zeros((1, 4), np.float32)}, ["Y"])["Y"][0, 0]
                    if answer not in (5, 50):
                        wrong.append(answer)
                except InferenceServerException as error:
                    wrong.append(error)
            asker.close()

        threads = [threading.Thread(target=ask, args=(protocol,)) for protocol in PROTOCOLS]
        for thread in threads:
            thread.start()
        client = Asker(server, "grpc").client
        other = tmp_path / "other"
        arithmetic(other, "plus_one", "Add", 10)
        files = [(tmp_path / "plus_one" / "1" / "model.onnx").read_bytes(), (other / "plus_one" / "1" / "model.onnx").read_bytes()]
        for reload in range(10):
            client.load_model("plus_one", config=json.dumps({"max_batch_size": 8}), files={"file:1/model.onnx": files[(reload + 1) % 2]})
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong


def test_what_does_not_fit_is_told_by_the_index(tmp_path: Path) -> None:
    diamond(tmp_path)
    ensemble(tmp_path, "broken", ["Y"], [step("plus_one", {"INPUT": "X"}, {"OUT": "Y"})])
    with Server(tmp_path, ready=False) as server:
        server.await_ready("diamond")
        asker = Asker(server, "http-json")
        reason = "step[0] (model 'plus_one'): it has no input 'INPUT'; it has IN"
        (line,) = [line for line in asker.client.get_model_repository_index() if line["name"] == "broken"]
        assert (line["state"], line["reason"]) == ("UNAVAILABLE", reason)
        assert not asker.client.is_server_ready()
        assert not asker.client.is_model_ready("broken")
        with pytest.raises(InferenceServerException, match="model 'broken' is not ready: step"):
            asker.infer("broken", {"X": rows(1)})
        asker.close()
