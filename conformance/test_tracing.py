"""The trace extension, with Triton's clients: what they switch on is in the file."""

import asyncio
import json
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as grpcaio
import tritonclient.http as httpclient
import tritonclient.http.aio as httpaio
from tritonclient.utils import InferenceServerException

import laboratory
from server import Server
from test_ensembles import diamond

CLIENTS = ["http", "grpc", "http.aio", "grpc.aio"]
MODEL = "identity"
STAGES = [
    "REQUEST_START",
    "QUEUE_START",
    "COMPUTE_START",
    "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START",
    "COMPUTE_END",
    "REQUEST_END",
]


class Tracing:
    """A server that has a file for traces, and traces nothing."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "trace.json"
        models = laboratory.build_identity(folder / "models")
        self.server = Server(models, flags=("--trace-config", f"triton,file={self.file}"))

    def settings(self) -> dict:
        return {
            "trace_level": ["OFF"],
            "trace_rate": "1000",
            "trace_count": "-1",
            "log_frequency": "0",
            "trace_file": str(self.file),
            "trace_mode": "triton",
        }

def traced(path: Path, ids: list[str]) -> list[dict]:
    """The objects in a file, once it has traces of all these requests."""
    for _ in range(500):
        if path.exists():
            objects = json.loads(path.read_text())
            if set(ids) <= {entry.get("request_id") for entry in objects}:
                return objects
        time.sleep(0.02)
    raise TimeoutError(f"{path}: {ids}")


@pytest.fixture(scope="module")
def tracing(tmp_path_factory: pytest.TempPathFactory):
    made = Tracing(tmp_path_factory.mktemp("tracing"))
    with made.server:
        yield made


class TraceClient:
    """One of Triton's four clients."""

    def __init__(self, tracing: Tracing, kind: str) -> None:
        self.tracing, self.kind = tracing, kind
        self.is_http = kind.startswith("http")
        self.url = tracing.server.http if self.is_http else tracing.server.grpc

    def _call(self, method: str, **arguments):
        if not self.is_http:
            arguments["as_json"] = True
        if self.kind in ("http", "grpc"):
            module = httpclient if self.is_http else grpcclient
            with module.InferenceServerClient(self.url) as client:
                return getattr(client, method)(**arguments)
        return asyncio.run(self._call_aio(method, arguments))

    async def _call_aio(self, method: str, arguments: dict):
        module = httpaio if self.is_http else grpcaio
        async with module.InferenceServerClient(self.url) as client:
            return await getattr(client, method)(**arguments)

    def _plain(self, answer: dict) -> dict:
        if self.is_http:
            return answer
        values = {name: setting["value"] for name, setting in answer["settings"].items()}
        return {name: value if name == "trace_level" else value[0] for name, value in values.items()}

    def get(self, model: str | None = None) -> dict:
        return self._plain(self._call("get_trace_settings", model_name=model))

    def update(self, settings: dict, model: str | None = None) -> dict:
        return self._plain(self._call("update_trace_settings", model_name=model, settings=settings))


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, tracing: Tracing):
    made = TraceClient(tracing, request.param)
    yield made
    nothing = dict.fromkeys(["trace_level", "trace_rate", "trace_count", "log_frequency"])
    made.update(nothing, MODEL)
    assert made.update(nothing) == tracing.settings()


def ask(tracing: Tracing, protocol: str, request_id: str) -> None:
    module = httpclient if protocol == "http" else grpcclient
    url = tracing.server.http if protocol == "http" else tracing.server.grpc
    with module.InferenceServerClient(url) as client:
        tensor = module.InferInput("INPUT0", [1, 2], "FP32")
        tensor.set_data_from_numpy(np.array([[1.5, 2.0]], np.float32))
        client.infer(MODEL, [tensor], request_id=request_id)


def test_settings_fall_back_and_are_cleared(client: TraceClient) -> None:
    start = client.tracing.settings()
    assert client.get() == client.get(MODEL) == start
    changed = client.update({"trace_level": ["TENSORS", "TIMESTAMPS"], "trace_rate": "7"}, MODEL)
    assert changed == start | {"trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": "7"}
    assert client.get() == start
    assert client.update({"log_frequency": "9"}) == start | {"log_frequency": "9"}
    assert client.get(MODEL) == changed | {"log_frequency": "9"}
    assert client.update({"trace_level": None}, MODEL) == start | {"trace_rate": "7", "log_frequency": "9"}


@pytest.mark.parametrize(
    "settings",
    [
        {"trace_file": "/tmp/elsewhere.json"},
        {"trace_level": ["MAXIMUM"]},
        {"trace_level": ["OFF", "TENSORS"]},
        {"trace_rate": "often"},
        {"trace_count": "-2"},
        {"trace_mode": "opentelemetry"},
        {"trace_colour": "red"},
    ],
)
def test_what_is_refused_changes_nothing(client: TraceClient, settings: dict) -> None:
    with pytest.raises(InferenceServerException):
        client.update({"log_frequency": "3"} | settings)
    assert client.get() == client.tracing.settings()


def test_an_unknown_model_has_no_settings(client: TraceClient) -> None:
    with pytest.raises(InferenceServerException, match="unknown model"):
        client.get("nobody")


def test_requests_are_in_the_file(client: TraceClient) -> None:
    names = [f"{client.kind}-http", f"{client.kind}-grpc"]
    client.update({"trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": "1"}, MODEL)
    ask(client.tracing, "http", names[0])
    ask(client.tracing, "grpc", names[1])
    objects = traced(client.tracing.file, names)
    for name, first, last in zip(names, ["HTTP_RECV_START", "GRPC_WAITREAD_START"], ["HTTP_SEND_END", "GRPC_SEND_END"]):
        head = next(entry for entry in objects if entry.get("request_id") == name)
        assert (head["model_name"], head["model_version"]) == (MODEL, 1)
        of = [entry for entry in objects if entry["id"] == head["id"]]
        moments = {each["name"]: each["ns"] for entry in of for each in entry.get("timestamps", [])}
        times = [moments[moment] for moment in [first, *STAGES, last]]
        assert times == sorted(times), moments
        tensors = {entry["activity"]: entry["tensor"] for entry in of if "tensor" in entry}
        expected = {"data": "1.5,2", "shape": "1,2", "dtype": "FP32"}
        assert tensors == {
            "TENSOR_QUEUE_INPUT": {"name": "INPUT0"} | expected,
            "TENSOR_BACKEND_OUTPUT": {"name": "OUTPUT0"} | expected,
        }


def test_a_number_of_traces_has_files_of_its_own(tracing: Tracing) -> None:
    client = TraceClient(tracing, "http")
    settings = {"trace_level": ["TIMESTAMPS"], "trace_rate": "2", "trace_count": "3", "log_frequency": "2"}
    client.update(settings, MODEL)
    for index in range(1, 10):
        ask(tracing, "http", f"counted-{index}")
    assert client.get(MODEL)["trace_count"] == "0"
    files = [Path(f"{tracing.file}.{index}") for index in (0, 1)]
    traced(files[0], ["counted-2", "counted-4"])
    third = traced(files[1], ["counted-6"])
    assert {entry["request_id"] for entry in third if "request_id" in entry} == {"counted-6"}
    client.update(dict.fromkeys(settings), MODEL)


def test_an_ensemble_has_a_span_for_each_of_its_steps(tmp_path: Path) -> None:
    models = tmp_path / "models"
    diamond(models)
    file = tmp_path / "trace.json"
    flags = ("--trace-config", f"triton,file={file}", "--trace-config", "rate=1", "--trace-config", "level=TIMESTAMPS")
    with Server(models, flags=flags) as server:
        for module, address in [(httpclient, server.http), (grpcclient, server.grpc)]:
            with module.InferenceServerClient(address) as client:
                tensor = module.InferInput("X", [1, 4], "FP32")
                tensor.set_data_from_numpy(np.zeros((1, 4), np.float32))
                name = module.__name__
                client.infer("diamond", [tensor], request_id=name)
                wanted = [module.InferRequestedOutput("PLUS")]
                client.infer("diamond", [tensor], request_id=f"{name}, one output", outputs=wanted)
        names = [httpclient.__name__, grpcclient.__name__]
        objects = traced(file, [*names, *(f"{name}, one output" for name in names)])
    heads = [entry for entry in objects if "model_name" in entry]
    for name in names:
        check_spans(objects, heads, name, {"plus_one", "double", "triple", "sum"})
        check_spans(objects, heads, f"{name}, one output", {"plus_one"})


def check_spans(objects: list[dict], heads: list[dict], request_id: str, models: set[str]) -> None:
    """The steps' spans are within the ensemble's, which has no stages of its own."""
    (whole,) = [head for head in heads if head["request_id"] == request_id and head["model_name"] == "diamond"]
    steps = [head for head in heads if head.get("parent_id") == whole["id"]]
    assert "parent_id" not in whole and {step["request_id"] for step in steps} == {request_id}
    assert sorted(step["model_name"] for step in steps) == sorted(models)

    def moments(span: int) -> dict[str, int]:
        of = [entry for entry in objects if entry["id"] == span]
        return {each["name"]: each["ns"] for entry in of for each in entry.get("timestamps", [])}

    outer = moments(whole["id"])
    assert "COMPUTE_START" not in outer
    for step in steps:
        inner = moments(step["id"])
        times = [inner[moment] for moment in STAGES]
        assert times == sorted(times), inner
        assert outer["REQUEST_START"] <= times[0] and times[-1] <= outer["REQUEST_END"]


def test_the_extension_is_told(tracing: Tracing) -> None:
    assert "trace" in requests.get(f"http://{tracing.server.http}/v2", timeout=10).json()["extensions"]
