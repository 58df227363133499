"""Triton's generate extension, asked with plain `requests`."""

import json
import time
from collections.abc import Iterator

import pytest
import requests

from models import CONFORMANCE
from server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(CONFORMANCE) as running:
        yield running
        assert running.process.poll() is None, f"the server ended by itself:\n{running.log_text()}"


def post(server: Server, model: str, route: str, body: object, **arguments: object) -> requests.Response:
    return requests.post(f"{server.url}/v2/models/{model}/{route}", json=body, timeout=20, **arguments)


def events(answer: requests.Response) -> Iterator[dict]:
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    for line in answer.iter_lines(chunk_size=1):
        if line:
            assert line.startswith(b"data: ")
            yield json.loads(line.removeprefix(b"data: "))


@pytest.mark.parametrize("route", ["generate", "versions/1/generate"])
def test_one_answer(server: Server, route: str):
    answer = post(server, "simple_identity", route, {"INPUT0": "hello \u00e9\n\u0000", "id": "42"})
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "model_name": "simple_identity",
        "model_version": "1",
        "id": "42",
        "OUTPUT0": "hello \u00e9\n\u0000",
    }
    assert "id" not in post(server, "simple_identity", route, {"INPUT0": ["a", "b"], "id": ""}).json()


def test_lists_are_laid_out_as_the_model_wants_them(server: Server):
    body = {"INPUT0": list(range(32)), "INPUT1": [[1] * 16] * 2}
    answer = post(server, "simple", "generate", body).json()
    assert answer["OUTPUT0"] == list(range(1, 33))
    assert "32 values" not in str(answer)
    refused = post(server, "simple", "generate", {"INPUT0": [1, 2, 3], "INPUT1": [1] * 16})
    assert refused.status_code == 400
    assert "input 'INPUT0': 3 values cannot be laid out as [-1,16]" in refused.json()["error"]


def test_other_keys_are_parameters(server: Server):
    body = {"INPUT0": [1, 2], "stop": "x", "parameters": {"temperature": 0.5, "stream": False}}
    answer = post(server, "custom_identity_int32", "generate", body).json()
    assert (answer["OUTPUT0"], answer["stop"], answer["temperature"], answer["stream"]) == ([1, 2], "x", 0.5, False)


def repeat(values: list[int], delay: int = 0) -> dict:
    return {"IN": values, "DELAY": [delay] * len(values), "WAIT": 0}


@pytest.mark.parametrize("count", [0, 1, 50])
def test_many_answers_are_events(server: Server, count: int):
    answer = post(server, "repeat_int32", "generate_stream", {**repeat(list(range(count))), "id": "7"})
    assert answer.status_code == 200
    found = list(events(answer))
    assert [event["OUT"] for event in found] == [event["IDX"] for event in found] == list(range(count))
    assert all((event["id"], event["model_name"]) == ("7", "repeat_int32") for event in found)


@pytest.mark.parametrize("route", ["generate", "generate_stream"])
def test_inputs_that_the_model_does_not_take_are_the_clients_fault(server: Server, route: str):
    answer = post(server, "repeat_int32", route, {**repeat([1]), "DELAY": [0, 0]})
    assert answer.status_code == 400
    assert "expected IN and DELAY of one length, got 1 and 2 values" in answer.json()["error"]


def test_an_ordinary_model_streams_one_event(server: Server):
    answer = post(server, "simple_identity", "generate_stream", {"INPUT0": "a"})
    assert [event["OUTPUT0"] for event in events(answer)] == ["a"]


def test_events_come_as_they_are_made(server: Server):
    answer = post(server, "repeat_int32", "generate_stream", repeat([1] * 3, 300), stream=True)
    started, times = time.monotonic(), []
    for _ in events(answer):
        times.append(time.monotonic() - started)
    assert len(times) == 3 and times[1] - times[0] > 0.2 and times[2] - times[1] > 0.2, times


@pytest.mark.parametrize("count", [0, 2])
def test_generate_wants_exactly_one_answer(server: Server, count: int):
    answer = post(server, "repeat_int32", "generate", repeat([1] * count))
    assert answer.status_code == 400
    assert "generate expects model to produce exactly 1 response" in answer.json()["error"]
    assert post(server, "repeat_int32", "generate", repeat([7])).json()["OUT"] == 7


@pytest.mark.parametrize("route", ["generate", "generate_stream"])
def test_what_is_wrong_is_told_as_json(server: Server, route: str):
    for model, body, status, text in [
        ("nobody", {}, 404, "Request for unknown model"),
        ("simple_identity", {}, 400, "input 'INPUT0'"),
        ("simple_identity", {"INPUT0": 123}, 400, "input 'INPUT0'"),
        ("simple_identity", {"INPUT0": "a", "x": None}, 400, "parameter 'x'"),
        ("simple_identity", {"INPUT0": "a", "x": {}}, 400, "parameter 'x'"),
        ("simple_identity", [], 400, "expected '{'"),
    ]:
        answer = post(server, model, route, body)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json")
        assert text in answer.json()["error"]
    duplicate = '{"INPUT0": "a", "INPUT0": "b"}'
    answer = requests.post(f"{server.url}/v2/models/simple_identity/{route}", data=duplicate, timeout=20)
    assert answer.status_code == 400 and "input 'INPUT0' is given twice" in answer.json()["error"]


def test_a_client_that_leaves_cancels_its_request(server: Server):
    outcome = {"model": "repeat_int32", "outcome": "cancelled"}
    before = server.samples("adulis_inference_requests_total", **outcome)
    answer = post(server, "repeat_int32", "generate_stream", repeat([1] * 100, 500), stream=True)
    next(events(answer))
    answer.close()
    deadline = time.monotonic() + 10
    while server.samples("adulis_inference_requests_total", **outcome) == before:
        assert time.monotonic() < deadline, "the request goes on without its client"
        time.sleep(0.05)
