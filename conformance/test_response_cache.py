"""The response cache as Triton's clients see it: over HTTP with JSON and binary tensors, over gRPC, on streams, in statistics."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from ask import PROTOCOLS, Asker
from laboratory import configure
from models import stream, tensor
from server import Server
from test_model_control import EXPLICIT, put

CACHED = """
max_batch_size: 8
response_cache { enable: true }
version_policy { all {} }
"""
SLOW = """
name: "slow"
backend: "identity"
max_batch_size: 1
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 4 ] } ]
parameters { key: "execute_delay_microseconds" value { string_value: "300000" } }
response_cache { enable: true }
"""


class Cached:
    """A server whose model `m` adds 1 to its input, with a cache, and `plain` the same without."""

    def __init__(self, repository: Path, server: Server):
        self.repository = repository
        self.server = server
        self.askers = {protocol: Asker(server, protocol) for protocol in PROTOCOLS}

    def ask(self, protocol: str, *rows: float, model: str = "m", **options: object) -> str:
        """What the answer says of the cache. It is checked, too: each row is four times the same number, and so is its answer."""
        summand = options.pop("summand", 1)
        values = np.repeat(np.array(rows, np.float32)[:, None], 4, axis=1)
        result = self.askers[protocol].raw(model, {"X": values}, **options)
        np.testing.assert_array_equal(result.as_numpy("SUM"), values + summand)
        return outcome(result, protocol)

    def load(self, summand: float, version: int = 1) -> None:
        put(self.repository, "m", summand, version)
        self.askers["grpc"].client.load_model("m")

    def close(self) -> None:
        for asker in self.askers.values():
            asker.close()


def outcome(result: object, protocol: str) -> str:
    parameters = result.get_response().parameters if protocol == "grpc" else result.get_response().get("parameters", {})
    if "cache" not in parameters:
        assert "cache_age_seconds" not in parameters
        return ""
    if protocol == "grpc":
        assert parameters["cache_age_seconds"].int64_param >= 0
        return parameters["cache"].string_param
    assert parameters["cache_age_seconds"] >= 0
    return parameters["cache"]


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Cached]:
    for name, text in (("m", CACHED), ("plain", "max_batch_size: 8")):
        configure(tmp_path, name, text)
        put(tmp_path, name, 1)
    configure(tmp_path, "slow", SLOW)
    with Server(tmp_path, flags=(*EXPLICIT, "--load-model", "*")) as server:
        made = Cached(tmp_path, server)
        yield made
        made.close()
        assert server.process.poll() is None, f"the server ended by itself:\n{server.log_text()}"


@pytest.mark.parametrize("first", PROTOCOLS)
def test_all_forms_of_a_request_share_an_answer(cached: Cached, first: str):
    assert cached.ask(first, 7) == "miss"
    assert {protocol: cached.ask(protocol, 7) for protocol in PROTOCOLS} == dict.fromkeys(PROTOCOLS, "hit")
    with stream(cached.server) as opened:
        opened.ask("m", [tensor(triton_grpc, "X", np.full((1, 4), 7, np.float32), "FP32")])
        answer = opened.next()
    assert outcome(answer, "grpc") == "hit"
    np.testing.assert_array_equal(answer.as_numpy("SUM"), np.full((1, 4), 8, np.float32))


def test_a_header_and_a_trailer_tell(cached: Cached):
    url = f"{cached.server.url}/v2/models"
    body = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 4], "data": [3] * 4}]}
    told = [requests.post(f"{url}/m/infer", json=body, timeout=10).headers["adulis-cache"] for _ in range(2)]
    assert [line.split("; age=")[0] for line in told] == ["miss", "hit"]
    assert all(int(line.split("; age=")[1]) >= 0 for line in told)
    assert "adulis-cache" not in requests.post(f"{url}/plain/infer", json=body, timeout=10).headers
    request = service_pb2.ModelInferRequest(model_name="m")
    request.inputs.add(name="X", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(np.full(4, 3, np.float32).tobytes())
    with grpc.insecure_channel(cached.server.grpc) as channel:
        _, call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.with_call(request)
    assert dict(call.trailing_metadata())["adulis-cache"].startswith("hit; age=")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_model_without_a_cache_says_nothing(cached: Cached, protocol: str):
    assert [cached.ask(protocol, 7, model="plain") for _ in range(2)] == ["", ""]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_request_may_go_around_it(cached: Cached, protocol: str):
    name = "cache-control" if protocol == "grpc" else "Cache-Control"
    assert cached.ask(protocol, 1, headers={name: "no-store"}) == "bypass"
    assert cached.ask(protocol, 1) == "miss", "what is not to be stored is not"
    assert cached.ask(protocol, 1, headers={name: "no-cache"}) == "bypass"
    assert cached.ask(protocol, 1, parameters={"cache_control": "no-cache"}) == "bypass"
    assert cached.ask(protocol, 2, parameters={"cache_control": "no-store"}) == "bypass"
    assert cached.ask(protocol, 1) == "hit"
    assert cached.ask(protocol, 2) == "miss"
    assert cached.ask(protocol, 3, parameters={"cache_control": "no-cache"}) == "bypass"
    assert cached.ask(protocol, 3) == "hit", "it ran for the one, and is remembered for others"
    with pytest.raises(InferenceServerException, match="cache_control"):
        cached.ask(protocol, 1, parameters={"cache_control": "sometimes"})


def counts(client: object, model: str) -> dict[str, int]:
    options = {"as_json": True} if isinstance(client, triton_grpc.InferenceServerClient) else {}
    (found,) = client.get_inference_statistics(model, **options)["model_stats"]
    return {
        "hit": int(found["inference_stats"].get("cache_hit", {}).get("count", 0)),
        "miss": int(found["inference_stats"].get("cache_miss", {}).get("count", 0)),
        "success": int(found["inference_stats"].get("success", {}).get("count", 0)),
        "rows": int(found.get("inference_count", 0)),
        "runs": int(found.get("execution_count", 0)),
    }


def test_the_statistics_count_hits_and_misses(cached: Cached):
    for protocol in PROTOCOLS:
        cached.ask(protocol, 5)
    cached.ask("grpc", 6, parameters={"cache_control": "no-store"})
    cached.ask("http-binary", 7, model="plain")
    for client in (cached.askers["http-json"].client, cached.askers["grpc"].client):
        # What the cache answers is no inference, as in Triton.
        assert counts(client, "m") == {"hit": 2, "miss": 1, "success": 4, "rows": 2, "runs": 2}
        plain = counts(client, "plain")
        assert (plain["hit"], plain["miss"], plain["rows"]) == (0, 0, 1)
    assert cached.server.samples("nv_cache_num_hits_per_model", model="m") == 2
    assert cached.server.samples("nv_cache_num_misses_per_model", model="m") == 1


def test_rows_are_known_one_by_one(cached: Cached):
    assert cached.ask("http-binary", 1, 2, 3) == "miss"
    assert cached.ask("grpc", 3, 1) == "hit"
    assert cached.ask("http-json", 9, 2, 8, 1) == "miss"
    assert counts(cached.askers["grpc"].client, "m")["rows"] == 5, "rows that are known do not run again"


def test_a_request_that_is_asked_by_many_at_once_runs_once(cached: Cached):
    def ask(index: int) -> str:
        module, address = (triton_grpc, cached.server.grpc) if index % 2 else (triton_http, cached.server.http)
        with module.InferenceServerClient(address) as client:
            answer = client.infer("slow", [tensor(module, "INPUT0", np.ones((1, 4), np.float32), "FP32")])
            np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), np.ones((1, 4), np.float32))
            return outcome(answer, "grpc" if module is triton_grpc else "http")

    with ThreadPoolExecutor(12) as pool:
        told = list(pool.map(ask, range(12)))
    assert told.count("miss") == 1 and set(told) <= {"miss", "coalesced", "hit"} and "coalesced" in told
    assert counts(cached.askers["grpc"].client, "slow")["runs"] == 1


def test_other_files_and_other_versions_have_other_answers(cached: Cached):
    assert [cached.ask("grpc", 1), cached.ask("http-json", 1)] == ["miss", "hit"]
    cached.askers["grpc"].client.load_model("m")
    assert cached.ask("http-json", 1) == "hit", "nothing has changed"
    cached.load(10)
    assert cached.ask("http-binary", 1, summand=10) == "miss"
    assert cached.ask("grpc", 1, summand=10) == "hit"
    cached.load(20, version=2)
    assert cached.ask("grpc", 1, summand=20) == "miss"
    assert cached.ask("http-json", 1, summand=20, model_version="2") == "hit"
    assert cached.ask("http-json", 1, summand=10, model_version="1") == "hit", "it is the same as before"
    # A configuration is part of it, too.
    configuration = json.dumps({"name": "m", "max_batch_size": 4, "response_cache": {"enable": True}})
    cached.askers["http-json"].client.load_model("m", config=configuration)
    assert cached.ask("http-json", 1, summand=20) == "miss"


def test_an_operator_looks_and_purges(cached: Cached):
    url = f"{cached.server.url}/v2/cache"
    for _ in range(2):
        cached.ask("grpc", 1, 2)
    report = requests.get(url, timeout=10).json()
    assert report["memory"]["entries"] == 2 and 0 < report["memory"]["bytes"] < report["memory"]["capacity_bytes"]
    (model,) = [model for model in report["models"] if model["name"] == "m"]
    assert {key: model[key] for key in ("version", "entries", "hits", "misses")} == {
        "version": "1",
        "entries": 2,
        "hits": 1,
        "misses": 1,
    }
    assert requests.post(f"{url}/models/m/purge", timeout=10).json() == {"purged": 2}
    assert cached.ask("http-json", 1, 2) == "miss"
    assert requests.post(f"{url}/purge", timeout=10).json() == {"purged": 2}
    assert cached.ask("http-json", 1, 2) == "miss"
    unknown = requests.post(f"{url}/models/plain/purge", timeout=10)
    assert unknown.status_code == 404 and "plain" in unknown.json()["error"]


def test_a_model_that_has_no_one_answer_is_refused(cached: Cached):
    configuration = json.dumps({
        "name": "slow",
        "backend": "identity",
        "input": [{"name": "INPUT0", "data_type": "TYPE_FP32", "dims": [4]}],
        "output": [{"name": "OUTPUT0", "data_type": "TYPE_FP32", "dims": [4]}],
        "model_transaction_policy": {"decoupled": True},
        "response_cache": {"enable": True},
    })
    with pytest.raises(InferenceServerException, match="response_cache.enable: does not go together with .*decoupled"):
        cached.askers["http-json"].client.load_model("slow", config=configuration)
