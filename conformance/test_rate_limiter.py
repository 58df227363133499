"""The rate limiter, switched on by Triton's flags."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from ask import tensors
from laboratory import configure
from server import Server

RUN_SECONDS = 0.1
EACH = 6
LIMITED = ("--rate-limit", "execution_count", "--execution-threads", "4")


def model(repository: Path, name: str, count: int) -> None:
    """Takes 0.1 s for a request, and so many units of `memory` meanwhile."""
    text = f"""
        backend: "identity"
        max_batch_size: 1
        input [ {{ name: "INPUT0" data_type: TYPE_FP32 dims: [ 16 ] }} ]
        output [ {{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 16 ] }} ]
        instance_group [ {{ count: 1 kind: KIND_CPU rate_limiter {{ resources [ {{ name: "memory" count: {count} }} ] }} }} ]
        parameters {{ key: "execute_delay_microseconds" value {{ string_value: "{int(RUN_SECONDS * 1e6)}" }} }}
    """
    configure(repository, name, text)


def ask(server: Server, protocol: str, name: str) -> None:
    module, address = (triton_http, server.http) if protocol == "http" else (triton_grpc, server.grpc)
    row = np.full((1, 16), 3, np.float32)
    with module.InferenceServerClient(address) as client:
        for _ in range(EACH):
            found = client.infer(name, tensors(module, {"INPUT0": row})).as_numpy("OUTPUT0")
            np.testing.assert_array_equal(found, row)


def both(server: Server) -> float:
    """How long two models take that are asked at the same time."""
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ask, server, *of) for of in (("http", "one"), ("grpc", "two"))]
        for each in asked:
            each.result()
    return time.monotonic() - started


def test_models_that_share_what_is_there_run_one_after_the_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        model(tmp_path, name, 2)
    with Server(tmp_path, flags=(*LIMITED, "--rate-limit-resource", "memory:3")) as server:
        assert both(server) >= 2 * EACH * RUN_SECONDS, "two runs went on at once"


def test_a_model_that_needs_more_than_there_is_is_not_loaded(tmp_path: Path) -> None:
    model(tmp_path, "small", 2)
    model(tmp_path, "large", 5)
    flags = (*LIMITED, "--rate-limit-resource", "memory:4", "--model-control-mode", "explicit", "--load-model", "small")
    with Server(tmp_path, flags=flags) as server, triton_http.InferenceServerClient(server.http) as client:
        with pytest.raises(InferenceServerException, match="instance_group.rate_limiter.resources.*memory"):
            client.load_model("large")
        assert client.is_model_ready("small")
        ask(server, "http", "small")
