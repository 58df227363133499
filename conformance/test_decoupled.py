"""Models that answer any number of times, over gRPC streams, as Triton's examples and tests ask them."""

import asyncio
import time
from collections.abc import Iterator

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from models import CONFORMANCE, add_sub, is_last, repeat, stream
from server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(CONFORMANCE) as running:
        yield running
        assert running.process.poll() is None, f"the server ended by itself:\n{running.log_text()}"


def test_custom_repeat(server: Server):
    """What simple_grpc_custom_repeat.py does."""
    values = list(range(100, 110))
    with stream(server) as opened:
        opened.ask("repeat_int32", repeat(values, 10), outputs=[triton_grpc.InferRequestedOutput("OUT")])
        answers = [opened.next() for _ in values]
    assert [int(answer.as_numpy("OUT")[0]) for answer in answers] == values
    assert all(answer.as_numpy("IDX") is None for answer in answers), "one output was asked for"


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_end_is_told_where_that_is_asked_for(server: Server, count: int):
    with stream(server) as opened:
        opened.ask("repeat_int32", repeat(list(range(count))), request_id="7", enable_empty_final_response=True)
        answers = [opened.next() for _ in range(count + 1)]
        assert opened.answers.empty()
    assert [is_last(answer) for answer in answers] == [False] * count + [True]
    assert [int(answer.as_numpy("IDX")[0]) for answer in answers[:-1]] == list(range(count))
    end = answers[-1].get_response()
    assert (end.id, end.model_name, len(end.outputs)) == ("7", "repeat_int32", 0)


def test_answers_of_several_requests_come_between_each_other(server: Server):
    with stream(server) as opened:
        opened.ask("repeat_int32", repeat([1] * 4, 100), request_id="slow")
        opened.ask("repeat_int32", repeat([2] * 4, 1), request_id="fast")
        ids = [opened.next().get_response().id for _ in range(8)]
    assert sorted(ids) == ["fast"] * 4 + ["slow"] * 4
    assert ids[-1] == "slow" and ids != sorted(ids, reverse=True)


def test_ordinary_models_answer_in_order_beside_a_decoupled_one(server: Server):
    values = np.arange(16, dtype=np.int32).reshape(1, 16)
    with stream(server) as opened:
        opened.ask("repeat_int32", repeat([1], 500), request_id="repeat")
        for index in range(20):
            opened.ask("simple", add_sub(triton_grpc, values + index, "INT32"), request_id=str(index))
        answers = [opened.next() for _ in range(21)]
    ids = [answer.get_response().id for answer in answers]
    assert ids == [*map(str, range(20)), "repeat"]
    assert all(map(is_last, answers[:-1]))
    assert np.array_equal(answers[3].as_numpy("OUTPUT0"), values + 4)


def test_a_stream_stays_open_after_an_error(server: Server):
    wrong = repeat([1, 2])[:1] + repeat([1])[1:]
    with stream(server) as opened:
        opened.ask("nobody", repeat([1]))
        opened.ask("repeat_int32", wrong)
        opened.ask("repeat_int32", repeat([1])[:2])
        messages = []
        for _ in range(3):
            with pytest.raises(InferenceServerException) as refused:
                opened.next()
            messages.append(refused.value.message())
        opened.ask("repeat_int32", repeat([5]))
        assert opened.next().as_numpy("OUT")[0] == 5
    for text in ("Request for unknown model", "of one length, got 2 and 1", "'WAIT' (UINT32 [1]) is missing"):
        assert any(text in message for message in messages), messages


def test_an_error_ends_the_stream_where_the_client_wants_that(server: Server):
    with stream(server, headers={"triton_grpc_error": "true"}) as opened:
        opened.ask("nobody", repeat([1]))
        with pytest.raises(InferenceServerException) as refused:
            opened.next()
        assert refused.value.status() == "StatusCode.NOT_FOUND"


def test_one_answer_is_refused(server: Server):
    text = "doesn't support models with decoupled transaction policy"
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        with pytest.raises(InferenceServerException, match=text) as refused:
            client.infer("repeat_int32", repeat([1]))
        assert refused.value.status() == "StatusCode.UNIMPLEMENTED"
    inputs = [
        {"name": name, "shape": [1], "datatype": datatype, "data": [0]}
        for name, datatype in (("IN", "INT32"), ("DELAY", "UINT32"), ("WAIT", "UINT32"))
    ]
    answer = requests.post(f"{server.url}/v2/models/repeat_int32/infer", json={"inputs": inputs}, timeout=10)
    assert answer.status_code == 501 and text in answer.json()["error"]


def test_its_configuration_and_statistics_say_that_it_is_decoupled(server: Server):
    with triton_http.InferenceServerClient(server.http) as client:
        assert client.get_model_config("repeat_int32")["model_transaction_policy"] == {"decoupled": True}
        before = client.get_inference_statistics("repeat_int32")["model_stats"][0]
        with stream(server) as opened:
            opened.ask("repeat_int32", repeat([1, 2]), enable_empty_final_response=True)
            while not is_last(opened.next()):
                pass
        after = client.get_inference_statistics("repeat_int32")["model_stats"][0]
    counted = after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"]
    assert counted == 1, "a request counts once, however often it is answered"
    sent = [model["response_stats"].get("1", {"success": {"count": 0}})["success"]["count"] for model in (before, after)]
    assert sent[1] == sent[0] + 1


def test_a_cancelled_stream_stops_the_model(server: Server):
    outcome = {"model": "repeat_int32", "outcome": "cancelled"}
    before = server.samples("adulis_inference_requests_total", **outcome)
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(callback=lambda result, error: None)
        client.async_stream_infer("repeat_int32", repeat([1] * 100, 1000))
        time.sleep(0.3)
        client.stop_stream(cancel_requests=True)
    deadline = time.monotonic() + 10
    while server.samples("adulis_inference_requests_total", **outcome) == before:
        assert time.monotonic() < deadline, "the request goes on without its client"
        time.sleep(0.05)


async def ask_asynchronously(address: str, count: int) -> list[int]:
    async def requests_of_stream():
        yield {"model_name": "repeat_int32", "inputs": repeat(list(range(count)))}

    values = []
    async with triton_grpc_aio.InferenceServerClient(address) as client:
        async for result, error in client.stream_infer(requests_of_stream()):
            assert error is None and not is_last(result)
            values.append(int(result.as_numpy("OUT")[0]))
    return values


def test_the_asynchronous_client(server: Server):
    assert asyncio.run(ask_asynchronously(server.grpc, 30)) == list(range(30))
