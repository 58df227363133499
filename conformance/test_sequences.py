"""Sequences, with Triton's clients and the models of Triton's sequence examples."""

import asyncio
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from tritonclient.utils import InferenceServerException

from laboratory import configure
from server import ROOT, Server

EXAMPLES = ROOT / "examples" / "conformance"
VALUES = [11, 7, 5, 3, 2, 0, 1]
WAIT_SECONDS = 20
Id = int | str

# Triton's words, which scripts may look for.
NOT_STARTED = "must specify the START flag on the first request of the sequence"
NO_ID = "must specify a non-zero or non-empty correlation ID"


def inputs(module, value: int, rows: int = 1) -> list:
    data = np.full((rows, 1), value, np.int32)
    tensor = module.InferInput("INPUT", data.shape, "INT32")
    tensor.set_data_from_numpy(data)
    return [tensor]


def steps(values: list[int]) -> Iterator[tuple[int, bool, bool]]:
    """Each value, and whether it begins and ends its sequence."""
    for index, value in enumerate(values):
        yield value, index == 0, index == len(values) - 1


def output(result) -> int:
    return int(result.as_numpy("OUTPUT")[0, 0])


@pytest.fixture(scope="module")
def examples() -> Iterator[Server]:
    with Server(EXAMPLES) as running:
        yield running


# One way of sending a whole sequence per client: model, id and values in, outputs out.


def http_sync(server: Server, model: str, sequence: Id, values: list[int]) -> list[int]:
    return sync(triton_http, server.http, model, sequence, values)


def grpc_sync(server: Server, model: str, sequence: Id, values: list[int]) -> list[int]:
    return sync(triton_grpc, server.grpc, model, sequence, values)


def sync(module, address: str, model: str, sequence: Id, values: list[int]) -> list[int]:
    with module.InferenceServerClient(address) as client:
        return [
            output(
                client.infer(
                    model,
                    inputs(module, value),
                    outputs=[module.InferRequestedOutput("OUTPUT")],
                    sequence_id=sequence,
                    sequence_start=start,
                    sequence_end=end,
                )
            )
            for value, start, end in steps(values)
        ]


def grpc_stream(server: Server, model: str, sequence: Id, values: list[int]) -> list[int]:
    """All requests are sent before any answer is awaited."""
    answers: queue.Queue = queue.Queue()
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        for number, (value, start, end) in enumerate(steps(values)):
            client.async_stream_infer(
                model,
                inputs(triton_grpc, value),
                request_id=f"{sequence}_{number}",
                sequence_id=sequence,
                sequence_start=start,
                sequence_end=end,
            )
        found = {}
        for _ in values:
            result, error = answers.get(timeout=WAIT_SECONDS)
            assert error is None, error
            found[int(result.get_response().id.rsplit("_", 1)[1])] = output(result)
        client.stop_stream()
    return [found[number] for number in range(len(values))]


def http_aio(server: Server, model: str, sequence: Id, values: list[int]) -> list[int]:
    return asyncio.run(aio(triton_http_aio, triton_http, server.http, model, sequence, values))


def grpc_aio(server: Server, model: str, sequence: Id, values: list[int]) -> list[int]:
    return asyncio.run(aio(triton_grpc_aio, triton_grpc, server.grpc, model, sequence, values))


async def aio(module, tensors, address: str, model: str, sequence: Id, values: list[int]) -> list[int]:
    async with module.InferenceServerClient(address) as client:
        answers = []
        for value, start, end in steps(values):
            flags = {"sequence_id": sequence, "sequence_start": start, "sequence_end": end}
            answers.append(output(await client.infer(model, inputs(tensors, value), **flags)))
        return answers


def grpc_aio_stream(server: Server, model: str, sequence: Id, values: list[int]) -> list[int]:
    async def run() -> list[int]:
        async def sent():
            for value, start, end in steps(values):
                yield {
                    "model_name": model,
                    "inputs": inputs(triton_grpc, value),
                    "sequence_id": sequence,
                    "sequence_start": start,
                    "sequence_end": end,
                }

        async with triton_grpc_aio.InferenceServerClient(server.grpc) as client:
            answers = []
            async for result, error in client.stream_infer(sent()):
                assert error is None, error
                answers.append(output(result))
            return answers

    return asyncio.run(run())


Send = Callable[[Server, str, Id, list[int]], list[int]]
SENDERS = [http_sync, grpc_sync, grpc_stream, http_aio, grpc_aio, grpc_aio_stream]


@pytest.fixture(params=SENDERS, ids=lambda sender: sender.__name__)
def send(request: pytest.FixtureRequest) -> Send:
    return request.param


# The flows of Triton's example clients, and what those check.


def test_simple_sequence_adds_one_to_its_first_value(examples: Server, send: Send) -> None:
    for sequence, values in [(1000, [0, *VALUES]), (1001, [100, *(-value for value in VALUES)])]:
        first, *rest = values
        assert send(examples, "simple_sequence", sequence, values) == [first + 1, *rest]


def test_simple_sequence_takes_text_as_an_id(examples: Server, send: Send) -> None:
    values = [20, *(-value for value in VALUES)]
    assert send(examples, "simple_sequence", str(uuid.uuid4()), values) == [21, *values[1:]]


def test_simple_dyna_sequence_adds_the_id_to_its_last_value(examples: Server, send: Send) -> None:
    for sequence, values in [(1000, [0, *VALUES]), (1001, [100, *(-value for value in VALUES)])]:
        first, *rest, last = values
        expected = [first + 1, *rest, last + sequence]
        assert send(examples, "simple_dyna_sequence", sequence, values) == expected


def test_simple_string_dyna_sequence_adds_up(examples: Server, send: Send) -> None:
    values = [20, *(-value for value in VALUES)]
    expected = np.cumsum(values)
    expected[-1] += 1002
    assert send(examples, "simple_string_dyna_sequence", "1002", values) == expected.tolist()


def test_implicit_state_goes_from_request_to_request(examples: Server, send: Send) -> None:
    values = [3, *VALUES]
    for sequence in (5, "five"):
        assert send(examples, "sequence_sum", sequence, values) == np.cumsum(values).tolist()


def test_sequences_at_once_keep_apart(examples: Server) -> None:
    """More clients than rows, in threads of their own, on every model and over every client."""
    failures: list[str] = []

    def one(number: int, send: Send) -> None:
        values = [number * 100 + value for value in VALUES]
        found = send(examples, "sequence_sum", 10_000 + number, values)
        if found != np.cumsum(values).tolist():
            failures.append(f"{send.__name__} {number}: {found}")

    threads = [
        threading.Thread(target=one, args=(number, SENDERS[number % 4])) for number in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS * 2)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []


def test_what_the_server_fills_in_is_not_in_the_metadata(examples: Server) -> None:
    client = triton_http.InferenceServerClient(examples.http)
    for model in ("simple_sequence", "simple_dyna_sequence", "sequence_sum"):
        metadata = client.get_model_metadata(model)
        assert [tensor["name"] for tensor in metadata["inputs"]] == ["INPUT"]
        assert [tensor["name"] for tensor in metadata["outputs"]] == ["OUTPUT"]
        config = client.get_model_config(model)
        assert [tensor["name"] for tensor in config["input"]] == ["INPUT"]
        assert "sequence_batching" in config and "dynamic_batching" not in config
    assert "sequence" in client.get_server_metadata()["extensions"]


# What goes wrong, over HTTP and gRPC.


class Client:
    """The same questions over HTTP and gRPC."""

    def __init__(self, module, address: str):
        self.module = module
        self.client = module.InferenceServerClient(address)

    def ask(self, model: str, sequence: Id, value: int, start: bool = False, end: bool = False, **more) -> int:
        flags = {"sequence_id": sequence, "sequence_start": start, "sequence_end": end}
        return output(self.client.infer(model, inputs(self.module, value), **flags, **more))

    def refused(self, *arguments, **more) -> InferenceServerException:
        with pytest.raises(InferenceServerException) as raised:
            self.ask(*arguments, **more)
        return raised.value

    def later(self, model: str, sequence: Id, value: int, start: bool = False, end: bool = False) -> "Later":
        return Later(type(self)(self.module, self.address()), (model, sequence, value, start, end))

    def address(self) -> str:
        return self.own_address

    @classmethod
    def of(cls, protocol: str, server: Server) -> "Client":
        made = cls(triton_http, server.http) if protocol == "http" else cls(triton_grpc, server.grpc)
        made.own_address = server.http if protocol == "http" else server.grpc
        return made


class Later:
    """A question in a thread of its own."""

    def __init__(self, client: Client, question: tuple):
        self.answer: int | InferenceServerException | None = None
        self.thread = threading.Thread(target=self.run, args=(client, question), daemon=True)
        self.thread.start()
        # Time for the request to get into the queue.
        time.sleep(0.3)

    def run(self, client: Client, question: tuple) -> None:
        try:
            self.answer = client.ask(*question)
        except InferenceServerException as error:
            self.answer = error

    def waits(self) -> bool:
        return self.thread.is_alive()

    def result(self) -> int | InferenceServerException | None:
        self.thread.join(WAIT_SECONDS)
        assert not self.thread.is_alive()
        return self.answer


SUMS = """
backend: "sequence"
max_batch_size: {rows}
input [ {{ name: "INPUT" data_type: TYPE_INT32 dims: [ 1 ] }} ]
output [ {{ name: "OUTPUT" data_type: TYPE_INT32 dims: [ 1 ] }} ]
sequence_batching {{
  max_sequence_idle_microseconds: {idle}
  control_input [
    {{ name: "START" control [ {{ kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] }} ] }},
    {{ name: "READY" control [ {{ kind: CONTROL_SEQUENCE_READY bool_false_true: [ false, true ] }} ] }}
  ]
}}
"""


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Running sums by row: `few` with two rows, `hasty` whose sequences are soon given up."""
    repository: Path = tmp_path_factory.mktemp("sums")
    configure(repository, "few", SUMS.format(rows=2, idle=60_000_000))
    configure(repository, "hasty", SUMS.format(rows=1, idle=500_000))
    configure(repository, "plain", SUMS.format(rows=8, idle=1).split("sequence_batching")[0].replace("sequence", "identity"))
    with Server(repository, flags=("--model-control-mode", "explicit", "--load-model", "*")) as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, sums: Server) -> Client:
    return Client.of(request.param, sums)


def is_invalid(error: InferenceServerException) -> bool:
    return error.status() in ("400", "StatusCode.INVALID_ARGUMENT")


def test_a_sequence_must_be_started_and_be_one(client: Client) -> None:
    not_started = client.refused("few", 77, 1)
    assert is_invalid(not_started) and NOT_STARTED in str(not_started) and "sequence 77" in str(not_started)
    no_id = client.refused("few", 0, 1)
    assert is_invalid(no_id) and NO_ID in str(no_id)
    with pytest.raises(InferenceServerException) as two:
        client.client.infer("few", inputs(client.module, 1, rows=2), sequence_id=78, sequence_start=True)
    assert is_invalid(two.value) and "must specify batch-size 1" in str(two.value)
    assert client.ask("few", 77, 5, start=True) == 5, "and the next good request is answered"
    assert client.ask("few", 77, 6, end=True) == 11
    assert NOT_STARTED in str(client.refused("few", 77, 1)), "it has ended"


def test_an_id_that_the_model_cannot_be_told_is_refused(examples: Server) -> None:
    for protocol in ("http", "grpc"):
        error = Client.of(protocol, examples).refused("simple_dyna_sequence", "seven", 1, start=True)
        assert is_invalid(error) and "correlation ID 'seven'" in str(error) and "UINT64" in str(error)


def test_an_ordinary_model_ignores_sequences(client: Client) -> None:
    assert client.ask("plain", 5, 4) == 4
    assert client.ask("plain", "five", 4, end=True) == 4


def test_flags_without_an_id_are_ignored_by_ordinary_models_only(sums: Server) -> None:
    for parameters in ({"sequence_start": True}, {"sequence_end": True, "sequence_id": 0}):
        body = {
            "parameters": parameters,
            "inputs": [{"name": "INPUT", "datatype": "INT32", "shape": [1, 1], "data": [4]}],
        }
        answer = requests.post(f"{sums.url}/v2/models/plain/infer", json=body, timeout=WAIT_SECONDS)
        assert answer.status_code == 200, answer.text
        answer = requests.post(f"{sums.url}/v2/models/few/infer", json=body, timeout=WAIT_SECONDS)
        assert answer.status_code == 400 and NO_ID in answer.json()["error"]


def test_text_and_number_are_two_sequences(client: Client) -> None:
    assert client.ask("few", 7, 1, start=True) == 1
    assert client.ask("few", "7", 10, start=True) == 10
    assert client.ask("few", 7, 1, end=True) == 2
    assert client.ask("few", "7", 1, end=True) == 11


def test_more_sequences_than_rows_wait_for_one(client: Client, sums: Server) -> None:
    assert client.ask("few", 1, 1, start=True) == 1
    assert client.ask("few", 2, 2, start=True) == 2
    third, follows = client.later("few", 3, 3, True), client.later("few", 3, 30)
    assert third.waits() and follows.waits()
    assert sums.samples("adulis_sequences_active", model="few") == 2
    assert sums.samples("adulis_sequences_backlog", model="few") == 1
    assert client.ask("few", 1, 10, end=True) == 11
    assert (third.result(), follows.result()) == (3, 33)
    assert client.ask("few", 2, 20, end=True) == 22
    assert client.ask("few", 3, 0, end=True) == 33
    assert sums.samples("adulis_sequences_active", model="few") == 0


def test_an_idle_sequence_is_given_up_and_makes_room(client: Client) -> None:
    assert client.ask("hasty", 1, 1, start=True) == 1
    waits = client.later("hasty", 2, 2, True)
    assert client.ask("hasty", 1, 1) == 2, "0.3 s are not too long"
    assert waits.result() == 2
    assert NOT_STARTED in str(client.refused("hasty", 1, 1))
    assert client.ask("hasty", 2, 5, end=True) == 7


def test_a_start_that_times_out_takes_its_sequence_with_it(client: Client) -> None:
    assert client.ask("few", 1, 1, start=True) == 1
    assert client.ask("few", 2, 2, start=True) == 2
    late = client.refused("few", 3, 3, start=True, timeout=100_000)
    assert late.status() in ("504", "StatusCode.DEADLINE_EXCEEDED")
    assert NOT_STARTED in str(client.refused("few", 3, 3))
    assert client.ask("few", 1, 1, end=True) == 2
    assert client.ask("few", 2, 2, end=True) == 4


def test_a_start_that_is_cancelled_takes_its_sequence_with_it(sums: Server) -> None:
    client = Client.of("grpc", sums)
    assert client.ask("few", 1, 1, start=True) == 1
    assert client.ask("few", 2, 2, start=True) == 2
    cancelled: queue.Queue = queue.Queue()
    flags = {"sequence_id": 3, "sequence_start": True}
    call = client.client.async_infer("few", inputs(triton_grpc, 3), lambda result, error: cancelled.put(error), **flags)
    time.sleep(0.3)
    follows = client.later("few", 3, 30)
    assert follows.waits()
    call.cancel()
    assert "CANCELLED" in str(cancelled.get(timeout=WAIT_SECONDS))
    orphan = follows.result()
    assert isinstance(orphan, InferenceServerException) and "sequence 3 was given up" in str(orphan)
    assert client.ask("few", 1, 1, end=True) == 2
    assert client.ask("few", 2, 2, end=True) == 4


def test_a_model_that_is_loaded_again_begins_anew(client: Client) -> None:
    assert client.ask("few", 1, 1, start=True) == 1
    client.client.load_model("few")
    assert NOT_STARTED in str(client.refused("few", 1, 1))
    assert client.ask("few", 1, 5, start=True) == 5
    assert client.ask("few", 1, 5, end=True) == 10


def test_an_error_leaves_the_stream_open(sums: Server) -> None:
    answers: queue.Queue = queue.Queue()
    with triton_grpc.InferenceServerClient(sums.grpc) as client:
        client.start_stream(callback=lambda result, error: answers.put((result, error)))

        def ask(value: int, start: bool = False, end: bool = False) -> tuple:
            flags = {"sequence_id": 9, "sequence_start": start, "sequence_end": end}
            client.async_stream_infer("few", inputs(triton_grpc, value), **flags)
            return answers.get(timeout=WAIT_SECONDS)

        _, error = ask(1)
        assert NOT_STARTED in str(error)
        result, error = ask(1, start=True)
        assert error is None and output(result) == 1
        result, error = ask(2, end=True)
        assert error is None and output(result) == 3
        client.stop_stream()
