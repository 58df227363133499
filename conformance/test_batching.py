"""Concurrent requests share runs, and each gets its own rows back."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from ask import tensors
from server import Server

CLIENTS, EACH = 16, 20


def rows(rng: np.random.Generator) -> np.ndarray:
    """One to four rows whose first value is never that which laboratory models misbehave on."""
    return rng.uniform(10, 1000, (rng.integers(1, 5), 16)).astype(np.float32)


def work(lab: Server, seed: int) -> int:
    """Asks in a closed loop over one protocol; returns how many rows it sent."""
    rng = np.random.default_rng(seed)
    module, address = (triton_http, lab.http) if seed % 2 else (triton_grpc, lab.grpc)
    sent = 0
    with module.InferenceServerClient(address) as client:
        for _ in range(EACH):
            batch = rows(rng)
            found = client.infer("batched", tensors(module, {"INPUT0": batch})).as_numpy("OUTPUT0")
            np.testing.assert_array_equal(found, batch)
            sent += len(batch)
    return sent


def test_requests_of_different_sizes_share_runs(lab: Server) -> None:
    rows_before = lab.samples("adulis_inference_rows_total", model="batched")
    runs_before = lab.samples("adulis_executions_total", model="batched")
    with ThreadPoolExecutor(CLIENTS) as pool:
        sent = sum(pool.map(lambda seed: work(lab, seed), range(CLIENTS)))
    assert lab.samples("adulis_inference_rows_total", model="batched") - rows_before == sent
    runs = lab.samples("adulis_executions_total", model="batched") - runs_before
    assert 0 < runs < CLIENTS * EACH / 2, f"{runs} runs for {CLIENTS * EACH} requests"


def test_a_request_that_fails_does_not_take_its_batch_along(lab: Server) -> None:
    good = np.full((1, 16), 40.0, np.float32)
    outcome: dict[int, str] = {}
    barrier = threading.Barrier(8)

    def one(number: int) -> None:
        # The built-in backend fails where the first byte of the data is 1, and panics where it is 2.
        cue = np.array([0x01, 0x02][number % 2] if number < 4 else 0, np.uint8)
        sent = good.copy()
        sent.view(np.uint8)[0, 0] = cue
        with triton_http.InferenceServerClient(lab.http) as client:
            barrier.wait(10)
            try:
                found = client.infer("failing", tensors(triton_http, {"INPUT0": sent})).as_numpy("OUTPUT0")
                outcome[number] = "right" if np.array_equal(found, sent) else "wrong"
            except triton_http.InferenceServerException as error:
                outcome[number] = error.status()

    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(8)))
        assert outcome == {number: "500" if number < 4 else "right" for number in range(8)}


def test_more_rows_than_the_model_takes(lab: Server) -> None:
    with triton_http.InferenceServerClient(lab.http) as client:
        try:
            client.infer("batched", tensors(triton_http, {"INPUT0": np.zeros((17, 16), np.float32)}))
        except triton_http.InferenceServerException as error:
            assert error.status() == "400"
            assert "batched" in error.message() and "17" in error.message() and "16" in error.message()
        else:
            raise AssertionError("17 rows were taken by a model of at most 16")
