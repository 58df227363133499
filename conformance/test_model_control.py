"""Loading, loading again and unloading as Triton's clients ask for it, and what the index and the statistics say meanwhile."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from google.protobuf.json_format import MessageToDict
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from laboratory import configure, value
from server import Server

EXPLICIT = ("--model-control-mode", "explicit")


def adder(summand: float) -> bytes:
    """X [batch, 4] → SUM = X + summand."""
    shape = ["batch", 4]
    graph = helper.make_graph(
        [helper.make_node("Add", ["X", "summand"], ["SUM"])],
        "adder",
        [value("X", TensorProto.FLOAT, shape)],
        [value("SUM", TensorProto.FLOAT, shape)],
        initializer=[helper.make_tensor("summand", TensorProto.FLOAT, [1], [summand])],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return model.SerializeToString()


def put(repository: Path, name: str, summand: float, version: int = 1) -> None:
    """Puts a version there as a whole, under a hidden name first."""
    folder = repository / name / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / ".model.onnx"
    part.write_bytes(adder(summand))
    part.rename(folder / "model.onnx")


class Client:
    """The same questions over HTTP and gRPC."""

    def __init__(self, module, address: str):
        self.module = module
        self.client = module.InferenceServerClient(address)

    def add(self, model: str, version: str = "") -> float:
        tensor = self.module.InferInput("X", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 4), np.float32))
        return float(self.client.infer(model, [tensor], model_version=version).as_numpy("SUM")[0, 0])

    def index(self) -> list[tuple[str, ...]]:
        answer = self.client.get_model_repository_index()
        if self.module is triton_grpc:
            lines = [(line.name, line.version, line.state, line.reason) for line in answer.models]
        else:
            keys = ("name", "version", "state", "reason")
            lines = [tuple(line.get(key, "") for key in keys) for line in answer]
        return [tuple(part for part in line if part) for line in lines]

    def statistics(self, model: str) -> dict:
        answer = self.client.get_inference_statistics(model, **({"as_json": True} if self.module is triton_grpc else {}))
        (found,) = answer["model_stats"]
        return found


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def explicit(tmp_path: Path, protocol: str) -> Iterator[tuple[Path, Server, Client]]:
    put(tmp_path, "m", 1)
    put(tmp_path, "idle", 9)
    with Server(tmp_path, flags=EXPLICIT) as server:
        module = triton_grpc if protocol == "grpc" else triton_http
        client = Client(module, getattr(server, protocol))
        yield tmp_path, server, client
        client.client.close()


def test_models_come_and_go_by_request(explicit: tuple[Path, Server, Client]) -> None:
    repository, _, client = explicit
    assert client.index() == [("idle",), ("m",)]
    client.client.load_model("m")
    assert client.client.is_model_ready("m")
    assert client.index() == [("idle",), ("m", "1", "READY")]
    assert client.add("m") == 1
    put(repository, "m", 2)
    client.client.load_model("m")
    assert client.add("m") == 2
    client.client.unload_model("m", unload_dependents=True)
    assert not client.client.is_model_ready("m")
    assert client.client.is_server_ready()
    assert client.index() == [("idle",), ("m", "1", "UNAVAILABLE", "unloaded")]
    with pytest.raises(InferenceServerException, match="Request for unknown model: 'm' has no available versions"):
        client.add("m")
    client.client.unload_model("m")


def test_what_cannot_be_loaded_says_why(explicit: tuple[Path, Server, Client]) -> None:
    repository, _, client = explicit
    with pytest.raises(InferenceServerException, match="failed to load 'x', failed to poll from model repository"):
        client.client.load_model("x")
    client.client.load_model("m")
    (repository / "m" / "1" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InferenceServerException, match="failed to load 'm', version 1: "):
        client.client.load_model("m")
    assert client.add("m") == 1, "the old one goes on"
    (line,) = [line for line in client.index() if line[0] == "m"]
    assert line[2] == "READY" and "version 1: " in line[3]
    assert client.client.is_server_ready()


def test_configuration_and_files_may_come_with_the_request(explicit: tuple[Path, Server, Client]) -> None:
    _, _, client = explicit
    files = {"file:1/model.onnx": adder(10), "file:5/model.onnx": adder(50)}
    with pytest.raises(InferenceServerException):
        client.client.load_model("m", files=files)
    policy = json.dumps({"version_policy": {"all": {}}})
    client.client.load_model("m", config=policy, files=files)
    assert (client.add("m"), client.add("m", "1")) == (50, 10)
    client.client.load_model("elsewhere", config="{}", files={"file:1/model.onnx": adder(3)})
    assert client.add("elsewhere") == 3
    client.client.unload_model("elsewhere")
    assert "elsewhere" not in {line[0] for line in client.index()}
    client.client.load_model("m")
    assert client.add("m") == 1, "the repository's own again"
    with pytest.raises(InferenceServerException, match="is not a path within the model's folder"):
        client.client.load_model("m", config="{}", files={"file:../1/model.onnx": adder(3)})


def test_numbers_of_a_configuration_may_be_text(explicit: tuple[Path, Server, Client]) -> None:
    """As the JSON form of Protocol Buffers writes 64-bit ones, and clients all of them."""
    _, _, client = explicit
    config = {
        "version_policy": {"specific": {"versions": ["1"]}},
        "instance_group": [{"count": "2", "kind": "KIND_CPU"}],
        "dynamic_batching": {"max_queue_delay_microseconds": "100"},
        "max_batch_size": "4",
    }
    client.client.load_model("m", config=json.dumps(config))
    told = client.client.get_model_config("m")
    if not isinstance(told, dict):
        told = MessageToDict(told.config, preserving_proto_field_name=True)
    assert (told["max_batch_size"], told["instance_group"][0]["count"]) == (4, 2)
    assert client.add("m") == 1
    with pytest.raises(InferenceServerException, match="max_batch_size"):
        client.client.load_model("m", config=json.dumps({**config, "max_batch_size": "four"}))


def test_statistics_count_what_was_asked(explicit: tuple[Path, Server, Client]) -> None:
    _, _, client = explicit
    client.client.load_model("m")
    before = time.time() * 1000
    for _ in range(3):
        client.add("m")
    with pytest.raises(InferenceServerException):
        tensor = client.module.InferInput("X", [1, 3], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 3), np.float32))
        client.client.infer("m", [tensor])
    found = client.statistics("m")
    count = lambda key: int(found[key])  # noqa: E731
    assert (count("inference_count"), count("execution_count")) == (3, 3)
    stages = found["inference_stats"]
    assert {key: int(stages[key]["count"]) for key in ("success", "fail", "queue", "compute_infer")} == {
        "success": 3,
        "fail": 1,
        "queue": 3,
        "compute_infer": 3,
    }
    parts = sum(int(stages[key].get("ns", 0)) for key in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert 0 < parts <= int(stages["success"]["ns"])
    assert before - 1000 <= count("last_inference") <= time.time() * 1000 + 1000
    (batch,) = found["batch_stats"]
    assert (int(batch["batch_size"]), int(batch["compute_infer"]["count"])) == (1, 3)
    client.client.load_model("m")
    assert int(client.statistics("m").get("inference_count", 0)) == 0, "a reload begins anew"


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_requests_do_not_decide_in_the_other_modes(tmp_path: Path, mode: str) -> None:
    put(tmp_path, "m", 1)
    with Server(tmp_path, flags=("--model-control-mode", mode)) as server:
        for module, address in ((triton_http, server.http), (triton_grpc, server.grpc)):
            client = module.InferenceServerClient(address)
            for ask in (client.load_model, client.unload_model):
                with pytest.raises(InferenceServerException, match="explicit model load / unload is not allowed if"):
                    ask("m")
            client.close()


class Traffic:
    """Asks from several threads until it is told to stop; every answer must be one of these."""

    def __init__(self, server: Server, allowed: set[float], threads: int = 6):
        self.allowed, self.answers, self.faults, self.ended = allowed, 0, [], threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(server, index % 2)) for index in range(threads)]

    def _ask(self, server: Server, grpc: int) -> None:
        client = Client(triton_grpc, server.grpc) if grpc else Client(triton_http, server.http)
        while not self.ended.is_set():
            try:
                answer = client.add("m")
                assert answer in self.allowed, answer
                self.answers += 1
            except Exception as fault:  # noqa: BLE001 - each is told below
                self.faults.append(fault)
        client.client.close()

    def __enter__(self) -> "Traffic":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()
        assert not self.faults, self.faults[:3]


def resident_bytes(server: Server) -> float:
    return server.samples("process_resident_memory_bytes")


def test_no_request_is_lost_over_reloads_and_memory_comes_back(tmp_path: Path) -> None:
    put(tmp_path, "m", 0)
    with Server(tmp_path, flags=(*EXPLICIT, "--load-model", "m")) as server:
        client = Client(triton_http, server.http)
        with Traffic(server, {0, 1}) as traffic:
            for index in range(30):
                put(tmp_path, "m", index % 2)
                client.client.load_model("m")
                assert client.add("m") == index % 2
                if index == 9:
                    early = resident_bytes(server)
        assert traffic.answers > 100
        # Thirty sessions that were not given back would be far more; allocators keep some.
        assert resident_bytes(server) - early < 64 << 20
        assert server.samples("adulis_model_loads_total", outcome="ok") == 31
        deadline = time.monotonic() + 10
        while server.samples("adulis_model_unloads_total") != 30:
            assert time.monotonic() < deadline, "the replaced models are still there"
            time.sleep(0.02)
        client.client.close()


def test_a_watched_repository_changes_under_traffic(tmp_path: Path) -> None:
    put(tmp_path, "m", 1)
    configure(tmp_path, "m", "max_batch_size: 8\ndynamic_batching {}")
    with Server(tmp_path, flags=("--model-control-mode", "poll", "--repository-poll-secs", "1")) as server:
        client = Client(triton_http, server.http)

        def await_sum(expected: float) -> None:
            deadline = time.monotonic() + 30
            while client.add("m") != expected:
                assert time.monotonic() < deadline, server.log_text()
                time.sleep(0.05)

        with Traffic(server, {1, 2, 3}):
            put(tmp_path, "m", 2, version=2)
            await_sum(2)
            (tmp_path / "m" / "3").mkdir()
            (tmp_path / "m" / "3" / "model.onnx").write_bytes(adder(3)[:40])
            deadline = time.monotonic() + 30
            while not any(line[-1].startswith("version 3: ") for line in client.index()):
                assert time.monotonic() < deadline, client.index()
                time.sleep(0.05)
            put(tmp_path, "m", 3, version=3)
            await_sum(3)
        shutil.rmtree(tmp_path / "m")
        deadline = time.monotonic() + 30
        while client.index():
            assert time.monotonic() < deadline, client.index()
            time.sleep(0.05)
        client.client.close()
