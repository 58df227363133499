"""Tensors in system shared memory, with tritonclient's own utilities, over HTTP and gRPC."""

import os
import shutil
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import tritonclient.utils.shared_memory as shm
from onnx import helper
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

import laboratory
from ask import datatype, status
from models import CONFORMANCE, repeat, stream
from server import Server

MODULES = {"http": triton_http, "grpc": triton_grpc}
KEY_PREFIX = "adulis-conformance-"
REGION_BYTES = 4096
WAIT_SECONDS = 20
# Keys of one run of these tests.
RUN = uuid.uuid4().hex[:8]


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory):
    """The laboratory's models, with shared memory allowed for the keys of these tests."""
    repository: Path = laboratory.build(tmp_path_factory.mktemp("sharing"))
    shutil.copytree(CONFORMANCE / "repeat_int32", repository / "repeat_int32")
    flags = ("--shared-memory", "--set", f"shared_memory.key_prefix={KEY_PREFIX}")
    with Server(repository, flags=flags) as running:
        yield running
        assert running.process.poll() is None, f"the server ended by itself:\n{running.log_text()}"


def key(name: str) -> str:
    return f"/{KEY_PREFIX}{RUN}-{name}"


class Sharer:
    """A client, and the regions that it has made and registered; all of them are gone at its end."""

    def __init__(self, server: Server, protocol: str):
        self.protocol = protocol
        self.module = MODULES[protocol]
        self.client = self.module.InferenceServerClient(server.grpc if protocol == "grpc" else server.http)
        self.handles: dict[str, Any] = {}

    def create(self, name: str, byte_size: int = REGION_BYTES) -> Any:
        self.handles[name] = shm.create_shared_memory_region(name, key(name), byte_size)
        return self.handles[name]

    def region(self, name: str, byte_size: int = REGION_BYTES) -> Any:
        handle = self.create(name, byte_size)
        self.client.register_system_shared_memory(name, key(name), byte_size)
        return handle

    def shared_input(self, name: str, array: np.ndarray, region: str, offset: int = 0) -> Any:
        """Puts the array into the region; BYTES as tritonclient serialises them."""
        data = serialize_byte_tensor(array) if array.dtype == np.object_ else array
        shm.set_shared_memory_region(self.handles[region], [data], offset)
        size = len(data.item()) if array.dtype == np.object_ else data.nbytes
        made = self.module.InferInput(name, list(array.shape), datatype(array))
        made.set_shared_memory(region, size, offset)
        return made

    def place(self, name: str, region: str, byte_size: int, offset: int = 0) -> Any:
        made = self.module.InferInput(name, [byte_size // 4], "FP32")
        made.set_shared_memory(region, byte_size, offset)
        return made

    def shared_output(self, name: str, region: str, byte_size: int, offset: int = 0) -> Any:
        made = self.module.InferRequestedOutput(name)
        made.set_shared_memory(region, byte_size, offset)
        return made

    def statuses(self) -> dict[str, dict]:
        if self.protocol == "grpc":
            regions = self.client.get_system_shared_memory_status(as_json=True).get("regions", {})
            return {name: {"offset": 0, **region} for name, region in regions.items()}
        return {region["name"]: region for region in self.client.get_system_shared_memory_status()}

    def check_written(self, result: Any, name: str, region: str, offset: int, size: int) -> None:
        """An output is answered without data: over gRPC with its place, over HTTP with its head alone, as Triton does."""
        output = result.get_output(name)
        if self.protocol == "http":
            assert set(output) == {"name", "datatype", "shape"}
            return
        response = result.get_response()
        index = [output.name for output in response.outputs].index(name)
        assert response.raw_output_contents[index] == b""
        assert output.parameters["shared_memory_region"].string_param == region
        numbers = [output.parameters[f"shared_memory_{field}"].int64_param for field in ("offset", "byte_size")]
        assert numbers == [offset, size]

    def close(self) -> None:
        self.client.unregister_system_shared_memory()
        for handle in self.handles.values():
            shm.destroy_shared_memory_region(handle)
        self.client.close()


@pytest.fixture(params=sorted(MODULES))
def sharer(sharing: Server, request: pytest.FixtureRequest):
    made = Sharer(sharing, request.param)
    yield made
    made.close()


@contextmanager
def refused(code: str, *parts: str):
    with pytest.raises(InferenceServerException) as caught:
        yield
    assert status(caught.value) == code, caught.value
    for part in parts:
        assert part in caught.value.message(), caught.value


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_in_and_out(sharer: Sharer) -> None:
    into, out = sharer.region("in"), sharer.region("out")
    array = row(1.5, -2, 3e30)
    outputs = [sharer.shared_output("SAME", "out", 12), sharer.shared_output("WIDE", "out", 24, offset=64)]
    result = sharer.client.infer("type_fp32", [sharer.shared_input("X", array, "in")], outputs=outputs)
    np.testing.assert_array_equal(shm.get_contents_as_numpy(out, np.float32, [1, 3]), array)
    wide = shm.get_contents_as_numpy(out, np.float64, [1, 3], offset=64)
    np.testing.assert_array_equal(wide, array.astype(np.float64))
    sharer.check_written(result, "SAME", "out", 0, 12)
    sharer.check_written(result, "WIDE", "out", 64, 24)
    np.testing.assert_array_equal(shm.get_contents_as_numpy(into, np.float32, [1, 3]), array)


@pytest.mark.parametrize("name", sorted(laboratory.NUMERIC))
def test_every_datatype(sharer: Sharer, name: str) -> None:
    kind, values = laboratory.NUMERIC[name]
    array = np.array([values], helper.tensor_dtype_to_np_dtype(kind))
    out = sharer.region("out")
    sharer.region("in")
    made = sharer.module.InferInput("X", list(array.shape), name)
    shm.set_shared_memory_region(sharer.handles["in"], [array.view(np.uint8)])
    made.set_shared_memory("in", array.nbytes)
    output = sharer.shared_output("SAME", "out", array.nbytes)
    sharer.client.infer(f"type_{name.lower()}", [made], outputs=[output])
    same = shm.get_contents_as_numpy(out, np.uint8, [array.nbytes])
    np.testing.assert_array_equal(same, array.view(np.uint8).ravel())


def test_byte_strings(sharer: Sharer) -> None:
    sharer.region("in")
    out = sharer.region("out")
    array = np.array([["", "é", "x\0y"], ["long " * 50, " ", "z"]], np.object_)
    shared = sharer.shared_input("X", array, "in", offset=7)
    output = sharer.shared_output("SAME", "out", REGION_BYTES - 3, offset=3)
    result = sharer.client.infer("type_bytes", [shared], outputs=[output])
    same = shm.get_contents_as_numpy(out, np.object_, [2, 3], offset=3)
    assert [text.decode() for text in same.ravel()] == list(array.ravel())
    size = sum(4 + len(text.encode()) for text in array.ravel())
    sharer.check_written(result, "SAME", "out", 3, size)


def test_shared_tensors_and_others_mix(sharer: Sharer) -> None:
    sharer.region("in")
    out = sharer.region("out")
    numbers, flags = np.array([[5, 6, 7]], np.int64), np.array([[True, False, True]])
    inline = sharer.module.InferInput("FLAGS", [1, 3], "BOOL")
    inline.set_data_from_numpy(flags)
    text = sharer.module.InferInput("TEXT", [1, 1], "BYTES")
    text.set_data_from_numpy(np.array([["hello"]], np.object_))
    inputs = [inline, sharer.shared_input("NUMBERS", numbers, "in", offset=8), text]
    outputs = [sharer.shared_output("KEPT", "out", 24), sharer.module.InferRequestedOutput("SAID")]
    result = sharer.client.infer("mixed", inputs, outputs=outputs)
    np.testing.assert_array_equal(shm.get_contents_as_numpy(out, np.int64, [1, 3]), [[5, 0, 7]])
    assert result.as_numpy("SAID").tolist() == [[b"hello"]]
    sharer.check_written(result, "KEPT", "out", 0, 24)


def test_large_tensors(sharer: Sharer) -> None:
    array = np.random.default_rng(7).random((1, 3 << 20), np.float32)
    out = sharer.region("out", array.nbytes)
    sharer.region("in", array.nbytes)
    shared = sharer.shared_input("X", array, "in")
    sharer.client.infer("type_fp32", [shared], outputs=[sharer.shared_output("SAME", "out", array.nbytes)])
    np.testing.assert_array_equal(shm.get_contents_as_numpy(out, np.float32, array.shape), array)


def test_a_region_may_be_a_part_of_an_object(sharer: Sharer) -> None:
    whole = sharer.create("whole")
    shm.set_shared_memory_region(whole, [row(1, 2, 3, 4)])
    sharer.client.register_system_shared_memory("part", key("whole"), 8, offset=4)
    outputs = [sharer.module.InferRequestedOutput("SAME")]
    inputs = [sharer.module.InferInput("X", [1, 2], "FP32")]
    inputs[0].set_shared_memory("part", 8)
    same = sharer.client.infer("type_fp32", inputs, outputs=outputs).as_numpy("SAME")
    np.testing.assert_array_equal(same, row(2, 3))
    inputs[0].set_shared_memory("part", 8, offset=4)
    with refused("400", "input 'X'", "invalid offset + byte size for shared memory region: 'part'"):
        sharer.client.infer("type_fp32", inputs, outputs=outputs)


def test_status_and_registration(sharer: Sharer) -> None:
    assert sharer.statuses() == {}
    sharer.region("a")
    sharer.client.register_system_shared_memory("b with é", key("a"), 8, offset=16)
    statuses = sharer.statuses()
    assert sorted(statuses) == ["a", "b with é"]
    found = statuses["b with é"]
    assert (found["key"], int(found["offset"]), int(found["byte_size"])) == (key("a"), 16, 8)
    sharer.client.get_system_shared_memory_status("a")
    with refused("400" if sharer.protocol == "http" else "StatusCode.ALREADY_EXISTS", "'a' already in manager"):
        sharer.client.register_system_shared_memory("a", key("a"), 8)
    sharer.client.unregister_system_shared_memory("a")
    sharer.client.unregister_system_shared_memory("never there")
    with refused("404", "unable to find", "'a'"):
        sharer.client.get_system_shared_memory_status("a")
    sharer.client.unregister_system_shared_memory()
    assert sharer.statuses() == {}


def test_regions_that_cannot_be(sharer: Sharer) -> None:
    sharer.create("small")
    register = sharer.client.register_system_shared_memory
    with refused("400", "cannot open key", "No such file"):
        register("r", key("none"), 8)
    with refused("400", "reach past the end of key", f"has {REGION_BYTES} bytes"):
        register("r", key("small"), REGION_BYTES + 1)
    with refused("400", "reach past the end of key"):
        register("r", key("small"), REGION_BYTES, offset=1)
    with refused("400", "byte_size must be 1 or more"):
        register("r", key("small"), 0)
    with refused("400", "bad key: it is a path"):
        register("r", "/../../etc/passwd", 8)
    with refused("403" if sharer.protocol == "http" else "StatusCode.PERMISSION_DENIED", KEY_PREFIX):
        register("r", "/of-another-program", 8)
    assert sharer.statuses() == {}


def test_tensors_that_cannot_be(sharer: Sharer) -> None:
    sharer.region("in", 64)
    out = sharer.region("out", 64)
    infer = sharer.client.infer
    with refused("404", "input 'X'", "unable to find shared memory region: 'none'"):
        infer("type_fp32", [sharer.place("X", "none", 8)])
    with refused("400", "input 'X'", "past its end at 64"):
        infer("type_fp32", [sharer.place("X", "in", 64, offset=8)])
    with refused("400", "input 'X'", "expected 8 bytes for FP32 [2], got 12"):
        place = sharer.place("X", "in", 8)
        place.set_shared_memory("in", 12)
        infer("type_fp32", [place])
    shm.set_shared_memory_region(out, [np.full(64, 9, np.uint8)])
    shared = sharer.shared_input("X", row(1, 2), "in")
    for output, part in [
        (sharer.shared_output("SAME", "none", 8), "unable to find shared memory region: 'none'"),
        (sharer.shared_output("SAME", "out", 8, offset=60), "past its end at 64"),
        (sharer.shared_output("SAME", "out", 7), "has 8 bytes, but 'shared_memory_byte_size' gives it 7"),
    ]:
        with refused("404" if "find" in part else "400", "output 'SAME'", part):
            infer("type_fp32", [shared], outputs=[output])
    assert (shm.get_contents_as_numpy(out, np.uint8, [64]) == 9).all(), "a refused request wrote something"
    broken = sharer.module.InferInput("X", [1, 1], "BYTES")
    shm.set_shared_memory_region(sharer.handles["in"], [np.full(64, 255, np.uint8)])
    broken.set_shared_memory("in", 16)
    with refused("400", "input 'X'", "BYTES element 0 of 1 is cut short"):
        infer("type_bytes", [broken])


def test_the_answers_of_a_stream_are_written_one_over_the_other(sharing: Server) -> None:
    sharer = Sharer(sharing, "grpc")
    out = sharer.region("out")
    values = [7, -3, 2**31 - 1]
    outputs = [sharer.shared_output("OUT", "out", 4, offset=8), triton_grpc.InferRequestedOutput("IDX")]
    with stream(sharing) as opened:
        # Each answer waits for its turn, so that what it left can be looked at before the next one.
        opened.ask("repeat_int32", repeat(values, [1, 700, 700]), outputs=outputs)
        for index, value in enumerate(values):
            answer = opened.next()
            assert int(shm.get_contents_as_numpy(out, np.int32, [1], offset=8)[0]) == value
            assert answer.as_numpy("IDX").tolist() == [index], "what has no place is answered"
            sharer.check_written(answer, "OUT", "out", 8, 4)
    assert (shm.get_contents_as_numpy(out, np.int32, [2]) == 0).all(), "nothing beside the place"
    with stream(sharing) as opened:
        place = sharer.shared_output("OUT", "out", 3)
        opened.ask("repeat_int32", repeat(values), outputs=[place])
        with pytest.raises(InferenceServerException, match="output 'OUT' has 4 bytes, but 'shared_memory_byte_size' gives it 3"):
            opened.next()
    sharer.close()


def classified(count: int, region: str, size: int) -> dict:
    parameters = {"classification": count, "shared_memory_region": region, "shared_memory_byte_size": size}
    return {"name": "SAME", "parameters": parameters}


def test_classes_are_written_as_byte_strings(sharing: Server) -> None:
    """tritonclient refuses to ask for it, the protocol does not."""
    sharer = Sharer(sharing, "http")
    out = sharer.region("out")
    data = {"name": "X", "datatype": "FP32", "shape": [2, 3], "data": [1, 5, 2, 9, 0.5, 3]}
    expected = [[b"5.000000:1", b"2.000000:2"], [b"9.000000:0", b"3.000000:2"]]
    ask = lambda output: requests.post(
        f"{sharing.url}/v2/models/type_fp32/infer", json={"inputs": [data], "outputs": [output]}, timeout=5
    )
    answer = ask(classified(2, "out", REGION_BYTES))
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    assert {name: output[name] for name in ("name", "datatype", "shape")} == {"name": "SAME", "datatype": "BYTES", "shape": [2, 2]}
    assert "data" not in output
    found = shm.get_contents_as_numpy(out, np.object_, [2, 2])
    assert found.tolist() == expected
    refusal = ask(classified(2, "out", 20))
    assert refusal.status_code == 400 and "output 'SAME' has 56 bytes" in refusal.json()["error"], refusal.text

    shm.set_shared_memory_region(out, [np.zeros(REGION_BYTES, np.uint8)])
    request = triton_grpc.service_pb2.ModelInferRequest(model_name="type_fp32")
    tensor = request.inputs.add(name="X", datatype="FP32", shape=[2, 3])
    tensor.contents.fp32_contents.extend(data["data"])
    output = request.outputs.add(name="SAME")
    output.parameters["classification"].int64_param = 2
    output.parameters["shared_memory_region"].string_param = "out"
    output.parameters["shared_memory_byte_size"].int64_param = REGION_BYTES
    with grpc.insecure_channel(sharing.grpc) as channel:
        answer = triton_grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == ("BYTES", [2, 2])
    assert shm.get_contents_as_numpy(out, np.object_, [2, 2]).tolist() == expected
    sharer.close()


def test_unregistered_while_in_use(sharing: Server, sharer: Sharer) -> None:
    array = np.full((1, 16), 7, np.float32)
    sharer.region("in")
    out = sharer.region("out")
    shared, output = sharer.shared_input("INPUT0", array, "in"), sharer.shared_output("OUTPUT0", "out", 64)

    def infer() -> None:
        # tritonclient's HTTP client belongs to the thread that made it.
        asking = Sharer(sharing, sharer.protocol)
        asking.client.infer("slow", [shared], outputs=[output])
        asking.client.close()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(infer)
        deadline = time.monotonic() + WAIT_SECONDS
        while not sharing.samples("adulis_executing_batches", model="slow"):
            assert time.monotonic() < deadline and not running.done()
        sharer.client.unregister_system_shared_memory()
        assert sharer.statuses() == {}
        running.result(WAIT_SECONDS)
    np.testing.assert_array_equal(shm.get_contents_as_numpy(out, np.float32, [1, 16]), array)
    with refused("404", "unable to find shared memory region: 'in'"):
        sharer.client.infer("slow", [shared])


def test_truncated_regions_fail_their_requests_only(sharer: Sharer) -> None:
    sharer.region("in")
    shared = sharer.shared_input("X", row(1, 2), "in")
    os.truncate(f"/dev/shm{key('in')}", 0)
    with refused("400", "input 'X'", "was truncated"):
        sharer.client.infer("type_fp32", [shared])
    os.truncate(f"/dev/shm{key('in')}", REGION_BYTES)
    np.testing.assert_array_equal(sharer.client.infer("type_fp32", [shared]).as_numpy("SAME"), row(0, 0))


def test_cuda_has_no_regions_and_says_so(sharer: Sharer) -> None:
    sharer.client.unregister_cuda_shared_memory()
    sharer.client.unregister_cuda_shared_memory("never there")
    statuses = sharer.client.get_cuda_shared_memory_status()
    assert not (statuses if sharer.protocol == "http" else statuses.regions)
    with refused("501" if sharer.protocol == "http" else "StatusCode.UNIMPLEMENTED", "opens no memory of a GPU"):
        sharer.client.register_cuda_shared_memory("gpu", b"aGFuZGxl", 0, 64)
    with refused("404", "cuda", "'gpu'"):
        sharer.client.get_cuda_shared_memory_status("gpu")


def test_answers_have_no_body(sharing: Server) -> None:
    base = f"{sharing.url}/v2/systemsharedmemory"
    handle = shm.create_shared_memory_region("plain", key("plain"), 64)
    try:
        body = {"key": key("plain"), "offset": 0, "byte_size": 64}
        for path, json in [("/region/plain/register", body), ("/region/plain/unregister", None), ("/unregister", None)]:
            answer = requests.post(base + path, json=json, timeout=5)
            assert (answer.status_code, answer.content) == (200, b"")
    finally:
        shm.destroy_shared_memory_region(handle)
    assert requests.get(base + "/status", timeout=5).json() == []
    assert requests.get(base + "/unregister", timeout=5).status_code == 405


@pytest.mark.parametrize("protocol", sorted(MODULES))
def test_extensions_and_metrics(sharing: Server, lab: Server, protocol: str) -> None:
    names = {"system_shared_memory", "cuda_shared_memory"}
    for server, spoken in [(sharing, names), (lab, set())]:
        client = MODULES[protocol].InferenceServerClient(server.grpc if protocol == "grpc" else server.http)
        metadata = client.get_server_metadata(**({"as_json": True} if protocol == "grpc" else {}))
        assert names & set(metadata["extensions"]) == spoken
    sharer = Sharer(sharing, protocol)
    sharer.region("counted", 128)
    assert sharing.samples("adulis_shared_memory_regions") == 1
    assert sharing.samples("adulis_shared_memory_bytes") == 128
    sharer.close()


@pytest.mark.parametrize("protocol", sorted(MODULES))
def test_off_unless_it_is_allowed(lab: Server, protocol: str) -> None:
    sharer = Sharer(lab, protocol)
    sharer.create("off")
    unsupported = "501" if protocol == "http" else "StatusCode.UNIMPLEMENTED"
    with refused(unsupported, "shared memory is off on this server", "--shared-memory"):
        sharer.client.register_system_shared_memory("off", key("off"), 64)
    with refused(unsupported, "input 'X'", "shared memory is off on this server"):
        sharer.client.infer("type_fp32", [sharer.place("X", "off", 8)])
    assert sharer.statuses() == {}
    sharer.close()
