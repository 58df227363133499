"""tritonclient's gRPC clients: unary, asynchronous, streams, compression."""

import asyncio
import queue
import threading

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from ask import tensors
from server import Server

A = np.arange(16, dtype=np.int32)[None]
B = np.full((1, 16), 3, np.int32)
SIMPLE = {"INPUT0": A, "INPUT1": B}
WAIT_SECONDS = 20


@pytest.fixture
def client(server: Server):
    with triton_grpc.InferenceServerClient(server.grpc) as made:
        yield made


def test_unary(client) -> None:
    result = client.infer("simple", tensors(triton_grpc, SIMPLE), request_id="no. 17", model_version="1")
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + B)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), A - B)
    answer = result.get_response()
    assert (answer.id, answer.model_name, answer.model_version) == ("no. 17", "simple", "1")


def test_only_the_requested_output_in_the_requested_order(client) -> None:
    for names in (["OUTPUT1"], ["OUTPUT1", "OUTPUT0"]):
        outputs = [triton_grpc.InferRequestedOutput(name) for name in names]
        answer = client.infer("simple", tensors(triton_grpc, SIMPLE), outputs=outputs).get_response()
        assert [output.name for output in answer.outputs] == names
        assert len(answer.raw_output_contents) == len(names)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate", "none"])
def test_compression(client, algorithm: str) -> None:
    result = client.infer("simple", tensors(triton_grpc, SIMPLE), compression_algorithm=algorithm)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + B)


def test_async_infer_answers_each_its_own(client) -> None:
    answers: queue.Queue = queue.Queue()
    for number in range(100):
        client.async_infer(
            "simple",
            tensors(triton_grpc, {"INPUT0": A + number, "INPUT1": B}),
            callback=lambda result, error: answers.put((result, error)),
            request_id=str(number),
        )
    seen = set()
    for _ in range(100):
        result, error = answers.get(timeout=WAIT_SECONDS)
        assert error is None
        number = int(result.get_response().id)
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + number + B)
        seen.add(number)
    assert seen == set(range(100))


def test_stream(client) -> None:
    answers: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(50):
        inputs = tensors(triton_grpc, {"INPUT0": A + number, "INPUT1": B})
        client.async_stream_infer("simple", inputs, request_id=str(number))
    seen = []
    for _ in range(50):
        result, error = answers.get(timeout=WAIT_SECONDS)
        assert error is None
        number = int(result.get_response().id)
        np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), A + number - B)
        seen.append(number)
    client.stop_stream()
    assert sorted(seen) == list(range(50))


def test_an_error_in_a_stream_leaves_it_open(client) -> None:
    answers: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer("no_such_model", tensors(triton_grpc, SIMPLE), request_id="bad")
    _, error = answers.get(timeout=WAIT_SECONDS)
    assert isinstance(error, InferenceServerException)
    assert "no_such_model" in error.message()
    client.async_stream_infer("simple", tensors(triton_grpc, SIMPLE), request_id="good")
    result, error = answers.get(timeout=WAIT_SECONDS)
    client.stop_stream()
    assert error is None
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + B)


def test_asynchronous_client(server: Server) -> None:
    async def ask() -> None:
        async with triton_aio.InferenceServerClient(server.grpc) as client:
            assert await client.is_server_ready()

            async def one(number: int) -> None:
                result = await client.infer("simple", tensors(triton_aio, {"INPUT0": A + number, "INPUT1": B}))
                np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), A + number - B)

            await asyncio.gather(*map(one, range(100)))

    asyncio.run(ask())


def test_asynchronous_stream(server: Server) -> None:
    async def requests():
        for number in range(20):
            inputs = tensors(triton_aio, {"INPUT0": A + number, "INPUT1": B})
            yield {"model_name": "simple", "inputs": inputs, "request_id": str(number)}

    async def ask() -> set[int]:
        seen = set()
        async with triton_aio.InferenceServerClient(server.grpc) as client:
            async for result, error in client.stream_infer(requests()):
                assert error is None
                number = int(result.get_response().id)
                np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + number + B)
                seen.add(number)
        return seen

    assert asyncio.run(asyncio.wait_for(ask(), WAIT_SECONDS)) == set(range(20))


def test_many_channels_at_once(server: Server) -> None:
    wrong: list[str] = []

    def work(seed: int) -> None:
        with triton_grpc.InferenceServerClient(
            server.grpc, channel_args=[("grpc.use_local_subchannel_pool", 1)]
        ) as own:
            for number in range(seed, seed + 20):
                result = own.infer("simple", tensors(triton_grpc, {"INPUT0": A + number, "INPUT1": B}))
                if not np.array_equal(result.as_numpy("OUTPUT0"), A + number + B):
                    wrong.append(f"request {number}")

    threads = [threading.Thread(target=work, args=(100 * seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)
