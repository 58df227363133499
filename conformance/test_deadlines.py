"""Requests that are given up: by timeout, by cancellation, by hanging up. None of them costs a run."""

import queue
import socket
import time

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from ask import status, tensors
from laboratory import DELAY_SECONDS
from server import Server

ROW = {"INPUT0": np.full((1, 16), 7, np.float32)}
WAIT_SECONDS = 20


def runs(lab: Server) -> float:
    return lab.samples("adulis_executions_total", model="slow")


def unfinished(lab: Server) -> dict[str, float]:
    """What is queued, running or in flight; nobody else asks this server meanwhile."""
    gauges = ("adulis_queue_requests", "adulis_executing_batches", "adulis_requests_in_flight")
    return {name: value for name in gauges if (value := lab.samples(name))}


def settle(lab: Server) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while left := unfinished(lab):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


@pytest.fixture
def busy(lab: Server):
    """`slow` with its one instance taken for the next 0.3 s, and the number of runs counted before that."""
    settle(lab)
    before = runs(lab)
    answers: queue.Queue = queue.Queue()
    with triton_grpc.InferenceServerClient(lab.grpc) as client:
        client.async_infer("slow", tensors(triton_grpc, ROW), lambda result, error: answers.put(error))
        deadline = time.monotonic() + WAIT_SECONDS
        while not lab.samples("adulis_executing_batches", model="slow"):
            assert time.monotonic() < deadline, "the instance never became busy"
            time.sleep(0.005)
        yield before
        assert answers.get(timeout=WAIT_SECONDS) is None
    settle(lab)


@pytest.mark.parametrize("module", [triton_http, triton_grpc], ids=["http", "grpc"])
def test_the_timeout_parameter(lab: Server, busy: float, module) -> None:
    with module.InferenceServerClient(lab.http if module is triton_http else lab.grpc) as client:
        started = time.monotonic()
        with pytest.raises(InferenceServerException) as caught:
            client.infer("slow", tensors(module, ROW), timeout=50_000)
        assert time.monotonic() - started < DELAY_SECONDS
    assert status(caught.value) == "504", caught.value
    assert "slow" in caught.value.message()
    settle(lab)
    assert runs(lab) - busy == 1


def test_a_grpc_deadline(lab: Server, busy: float) -> None:
    with triton_grpc.InferenceServerClient(lab.grpc) as client, pytest.raises(InferenceServerException) as caught:
        client.infer("slow", tensors(triton_grpc, ROW), client_timeout=0.05)
    assert status(caught.value) == "504"
    settle(lab)
    assert runs(lab) - busy == 1


def test_grpc_cancellation(lab: Server, busy: float) -> None:
    answers: queue.Queue = queue.Queue()
    with triton_grpc.InferenceServerClient(lab.grpc) as client:
        waiting = [
            client.async_infer("slow", tensors(triton_grpc, ROW), lambda result, error: answers.put(error))
            for _ in range(5)
        ]
        time.sleep(0.05)
        for call in waiting:
            call.cancel()
        for _ in waiting:
            assert "ancelled" in str(answers.get(timeout=WAIT_SECONDS))
    settle(lab)
    assert runs(lab) - busy == 1


def test_http_hang_up(lab: Server, busy: float) -> None:
    body, header_bytes = triton_http.InferenceServerClient.generate_request_body(tensors(triton_http, ROW))
    head = (
        f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: {lab.http}\r\nContent-Length: {len(body)}\r\n"
        f"Inference-Header-Content-Length: {header_bytes}\r\n\r\n"
    )
    host, port = lab.http.rsplit(":", 1)
    lines = [socket.create_connection((host, int(port))) for _ in range(5)]
    for line in lines:
        line.sendall(head.encode() + body)
    deadline = time.monotonic() + WAIT_SECONDS
    while lab.samples("adulis_queue_requests", model="slow") < len(lines):
        assert time.monotonic() < deadline, "the requests never reached the queue"
        time.sleep(0.005)
    for line in lines:
        line.close()
    settle(lab)
    assert runs(lab) - busy == 1


def test_those_who_wait_are_answered(lab: Server) -> None:
    settle(lab)
    before = runs(lab)
    with triton_http.InferenceServerClient(lab.http, concurrency=4) as client:
        waiting = [client.async_infer("slow", tensors(triton_http, ROW)) for _ in range(4)]
        for request in waiting:
            np.testing.assert_array_equal(request.get_result().as_numpy("OUTPUT0"), ROW["INPUT0"])
    assert runs(lab) - before == 4
