"""Ensembles with a decoupled step, as Triton's own tests make them (qa/L0_decoupled): none of them says that it is decoupled."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from onnx import TensorProto, helper, numpy_helper
from tritonclient.utils import InferenceServerException

from laboratory import configure, save, value
from models import CONFORMANCE, is_last, repeat, stream
from server import Server
from test_ensembles import step
from test_generate import events, post

INPUTS = [("IN", "TYPE_INT32", "-1"), ("DELAY", "TYPE_UINT32", "-1"), ("WAIT", "TYPE_UINT32", "1")]
REPEAT_IN = {"IN": "IN", "DELAY": "DELAY", "WAIT": "WAIT"}


def ensemble(repository: Path, name: str, outputs: list[tuple[str, str]], steps: list[str]) -> None:
    inputs = ", ".join(f'{{ name: "{name}" data_type: {kind} dims: [ {dims} ] }}' for name, kind, dims in INPUTS)
    made = ", ".join(f'{{ name: "{name}" data_type: {kind} dims: [ 1 ] }}' for name, kind in outputs)
    text = f"""
        platform: "ensemble"
        max_batch_size: 0
        input [ {inputs} ]
        output [ {made} ]
        ensemble_scheduling {{ step [ {", ".join(steps)} ] }}
    """
    configure(repository, name, text)


def models(repository: Path) -> None:
    """`plus_ten` and `sum` of INT32 [1]; `spread` makes of n the inputs of a repetition of 0 to n - 1."""
    number, ints = [1], TensorProto.INT32
    ten = numpy_helper.from_array(np.array([10], np.int32), "ten")
    save(repository, "plus_ten", [helper.make_node("Add", ["X", "ten"], ["Y"])], [value("X", ints, number)], [value("Y", ints, number)], [ten])
    inputs = [value("A", ints, number), value("B", ints, number)]
    save(repository, "sum", [helper.make_node("Add", ["A", "B"], ["Y"])], inputs, [value("Y", ints, number)])
    scalars = [
        numpy_helper.from_array(np.array(0, np.int32), "zero"),
        numpy_helper.from_array(np.array(1, np.int32), "one"),
        numpy_helper.from_array(np.array([], np.int64), "scalar"),
        numpy_helper.from_array(np.array([0], np.int32), "nothing"),
    ]
    nodes = [
        helper.make_node("Reshape", ["N", "scalar"], ["n"]),
        helper.make_node("Range", ["zero", "n", "one"], ["IN"]),
        helper.make_node("Mul", ["IN", "nothing"], ["zeros"]),
        helper.make_node("Cast", ["zeros"], ["DELAY"], to=TensorProto.UINT32),
        helper.make_node("Cast", ["nothing"], ["WAIT"], to=TensorProto.UINT32),
    ]
    unsigned = TensorProto.UINT32
    outputs = [value("IN", ints, ["n"]), value("DELAY", unsigned, ["n"]), value("WAIT", unsigned, number)]
    save(repository, "spread", nodes, [value("N", ints, number)], outputs, scalars)
    for name in ("plus_ten", "sum", "spread"):
        configure(repository, name, "max_batch_size: 0")


def build(repository: Path) -> Path:
    shutil.copytree(CONFORMANCE / "repeat_int32", repository / "repeat_int32")
    models(repository)
    again = {"IN": "in", "DELAY": "delay", "WAIT": "wait"}
    ensemble(
        repository,
        "simple_repeat",
        [("OUT", "TYPE_INT32"), ("IDX", "TYPE_UINT32")],
        [step("repeat_int32", REPEAT_IN, {"OUT": "OUT", "IDX": "IDX"})],
    )
    ensemble(
        repository,
        "sequence_repeat",
        [("OUT", "TYPE_INT32"), ("IDX", "TYPE_UINT32")],
        [
            step("repeat_int32", REPEAT_IN, {"OUT": "repeated", "IDX": "IDX"}),
            step("plus_ten", {"X": "repeated"}, {"Y": "OUT"}),
        ],
    )
    ensemble(
        repository,
        "fan_repeat",
        [("OUT", "TYPE_INT32")],
        [
            step("repeat_int32", REPEAT_IN, {"OUT": "repeated"}),
            step("plus_ten", {"X": "repeated"}, {"Y": "more"}),
            step("sum", {"A": "repeated", "B": "more"}, {"Y": "OUT"}),
        ],
    )
    ensemble(
        repository,
        "nested_repeat",
        [("OUT", "TYPE_INT32")],
        [
            step("sequence_repeat", REPEAT_IN, {"OUT": "counts"}),
            step("spread", {"N": "counts"}, again),
            step("repeat_int32", again, {"OUT": "OUT"}),
        ],
    )
    return repository


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(build(tmp_path_factory.mktemp("models"))) as running:
        yield running
        assert running.process.poll() is None, f"the server ended by itself:\n{running.log_text()}"


def outputs(server: Server, model: str, values: list[int], output: str = "OUT") -> list[int]:
    """What a request gives."""
    with stream(server) as opened:
        opened.ask(model, repeat(values), request_id="a", enable_empty_final_response=True)
        found = []
        while True:
            answer = opened.next()
            assert answer.get_response().id == "a" and answer.get_response().model_name == model
            # Where the end is known by then, the last answer is told to be the last, else an empty one.
            if answer.get_response().outputs:
                found.append(int(answer.as_numpy(output)[0]))
            if is_last(answer):
                return found


@pytest.mark.parametrize("count", [0, 1, 60])
def test_each_answer_flows_through_the_rest_in_order(server: Server, count: int) -> None:
    values = list(range(count))
    assert outputs(server, "simple_repeat", values) == values
    assert outputs(server, "sequence_repeat", values) == [value + 10 for value in values]
    assert outputs(server, "sequence_repeat", values, "IDX") == values
    assert outputs(server, "fan_repeat", values) == [2 * value + 10 for value in values]


def test_decoupled_steps_in_a_row_multiply(server: Server) -> None:
    expected = [number for count in (0, -7, -8) for number in range(count + 10)]
    assert outputs(server, "nested_repeat", [0, -7, -8]) == expected
    assert outputs(server, "nested_repeat", [-10, -10]) == [], "two answers that become none"


def test_events_over_rest(server: Server) -> None:
    body = {"IN": list(range(40)), "DELAY": [0] * 40, "WAIT": 0, "id": "7"}
    found = list(events(post(server, "sequence_repeat", "generate_stream", body)))
    assert [event["OUT"] for event in found] == [value + 10 for value in range(40)]
    assert {(event["id"], event["model_name"]) for event in found} == {("7", "sequence_repeat")}


def test_one_answer_cannot_be_asked_of_it(server: Server) -> None:
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        with pytest.raises(InferenceServerException, match="doesn't support models with decoupled transaction policy"):
            client.infer("sequence_repeat", repeat([1]))
        config = client.get_model_config("sequence_repeat", as_json=True)["config"]
    assert config["model_transaction_policy"] == {"decoupled": True}, "as that of its step"
    answer = post(server, "sequence_repeat", "infer", {"inputs": []})
    assert answer.status_code == 501
    with triton_http.InferenceServerClient(server.http) as client:
        assert client.get_model_config("nested_repeat")["model_transaction_policy"] == {"decoupled": True}


def test_a_client_that_leaves_cancels_what_is_under_way(server: Server) -> None:
    outcome = {"model": "repeat_int32", "outcome": "cancelled"}
    before = server.samples("adulis_inference_requests_total", **outcome)
    body = {"IN": [1] * 100, "DELAY": [500] * 100, "WAIT": 0}
    answer = post(server, "sequence_repeat", "generate_stream", body, stream=True)
    next(events(answer))
    answer.close()
    deadline = time.monotonic() + 10
    while server.samples("adulis_inference_requests_total", **outcome) == before:
        assert time.monotonic() < deadline, "its step goes on without its client"
        time.sleep(0.05)
    assert server.samples("adulis_inference_requests_total", **outcome) == before + 1
    assert server.samples("adulis_inference_requests_total", model="sequence_repeat", outcome="cancelled") >= 1


def test_what_does_not_come_together_is_told_by_the_index(tmp_path: Path) -> None:
    shutil.copytree(CONFORMANCE / "repeat_int32", tmp_path / "repeat_int32")
    models(tmp_path)
    steps = [
        step("repeat_int32", REPEAT_IN, {"OUT": "repeated"}),
        step("plus_ten", {"X": "WAIT_TOO"}, {"Y": "once"}),
        step("sum", {"A": "repeated", "B": "once"}, {"Y": "OUT"}),
    ]
    ensemble(tmp_path, "broken", [("OUT", "TYPE_INT32")], steps)
    text = (tmp_path / "broken" / "config.pbtxt").read_text()
    more = 'input [ { name: "WAIT_TOO" data_type: TYPE_INT32 dims: [ 1 ] },'
    (tmp_path / "broken" / "config.pbtxt").write_text(text.replace("input [", more, 1))
    with Server(tmp_path, ready=False) as server:
        server.await_ready("repeat_int32")
        with triton_http.InferenceServerClient(server.http) as client:
            server.await_ready("sum")
            (line,) = [line for line in client.get_model_repository_index() if line["name"] == "broken"]
    assert line["state"] == "UNAVAILABLE"
    assert line["reason"] == (
        "step[2] (model 'sum'): it receives inputs originated from different decoupled models: 'repeated' comes with each "
        "answer of step[0] (model 'repeat_int32'), 'once' comes with the request"
    )
