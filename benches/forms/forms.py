"""How long one request and its answer take in each form that a tensor travels in, and through shared memory.

    python benches/forms/forms.py --http HOST:PORT --grpc HOST:PORT --rounds 30

The model is `wide`: identity over FP32 of any length. No answer is taken apart, and each body of 150,528 values is made before it is
timed, so that the client costs little and about the same in every form; what is timed is one request on an open connection,
from the first byte that is sent to the last that is read. Of 10 MiB, the copy into the body or into the region is timed, too.
Forms take turns. Prints one JSON object: milliseconds by form.
"""

import argparse
import http.client
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import shared_memory

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "clients"))
from flatbuffers_tensors import CONTENT_TYPE as FLATBUFFERS  # noqa: E402
from flatbuffers_tensors import encode_request  # noqa: E402

MODEL, INPUT, OUTPUT = "wide", "INPUT0", "OUTPUT0"
IMAGE = 3 * 224 * 224
LARGE = 10 * 1024 * 1024 // 4
PATH = f"/v2/models/{MODEL}/infer"
RPC = "/inference.GRPCInferenceService/ModelInfer"
WARM_UP = 3


def timed(ask: Callable[[], object]) -> float:
    start = time.perf_counter()
    ask()
    return (time.perf_counter() - start) * 1e3


def http_caller(address: str) -> Callable[[bytes, dict[str, str]], None]:
    connection = http.client.HTTPConnection(address)

    def ask(body: bytes, headers: dict[str, str]) -> None:
        connection.request("POST", PATH, body, headers)
        answer = connection.getresponse()
        read = answer.read()
        if answer.status != 200:
            raise RuntimeError(read[:500])

    return ask


def over_http(address: str, body: bytes, headers: dict[str, str]) -> Callable[[], object]:
    ask = http_caller(address)
    return lambda: ask(body, headers)


def as_json(data: np.ndarray) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": INPUT, "datatype": "FP32", "shape": [1, data.size], "data": data.tolist()}
    return json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": "application/json"}


def as_binary(data: np.ndarray) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": INPUT, "datatype": "FP32", "shape": [1, data.size]}
    tensor["parameters"] = {"binary_data_size": data.nbytes}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + data.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def as_message(data: np.ndarray) -> bytes:
    message = service_pb2.ModelInferRequest(model_name=MODEL)
    message.inputs.add(name=INPUT, datatype="FP32", shape=[1, data.size])
    message.raw_input_contents.append(data.tobytes())
    return message.SerializeToString()


def grpc_caller(address: str) -> Callable[[bytes], object]:
    limits = [(f"grpc.max_{side}_message_length", -1) for side in ("send", "receive")]
    return grpc.insecure_channel(address, options=limits).unary_unary(RPC)


def over_grpc(address: str, message: bytes) -> Callable[[], object]:
    call = grpc_caller(address)
    return lambda: call(message)


class Shared:
    """One region for the input and one for the output, registered once."""

    def __init__(self, address: str, size: int):
        self.address, self.size = address, size
        self.regions = {}
        for name in ("forms_in", "forms_out"):
            self.regions[name] = shared_memory.create_shared_memory_region(name, f"/{name}", size)
            body = json.dumps({"key": f"/{name}", "offset": 0, "byte_size": size})
            connection = http.client.HTTPConnection(address)
            connection.request("POST", f"/v2/systemsharedmemory/region/{name}/register", body)
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(answer.read())

    def asks(self, data: np.ndarray) -> Callable[[], object]:
        def place(region: str) -> dict:
            return {"shared_memory_region": region, "shared_memory_byte_size": self.size}

        tensor = {"name": INPUT, "datatype": "FP32", "shape": [1, data.size], "parameters": place("forms_in")}
        wanted = {"name": OUTPUT, "parameters": place("forms_out")}
        body = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
        request = over_http(self.address, body, {})

        def ask() -> None:
            # Putting the data there is part of the time, as making the body is over the wire; the answer is read where it lies.
            shared_memory.set_shared_memory_region(self.regions["forms_in"], [data])
            request()
            shared_memory.get_contents_as_numpy(self.regions["forms_out"], np.float32, [data.size])

        return ask

    def close(self) -> None:
        for region in self.regions.values():
            shared_memory.destroy_shared_memory_region(region)


def forms(http_address: str, grpc_address: str, shared: Shared) -> dict[str, Callable[[], object]]:
    random = np.random.default_rng(7)
    image, large = (random.standard_normal(count, np.float32) for count in (IMAGE, LARGE))
    flat = encode_request({INPUT: image.reshape(1, -1)})
    message = as_message(image)
    large_http, large_grpc = http_caller(http_address), grpc_caller(grpc_address)
    return {
        "json": over_http(http_address, *as_json(image)),
        "binary": over_http(http_address, *as_binary(image)),
        "protobuf over http": over_http(http_address, message, {"Content-Type": "application/x-protobuf"}),
        "flatbuffers": over_http(http_address, flat, {"Content-Type": FLATBUFFERS}),
        "grpc": over_grpc(grpc_address, message),
        "10 MiB binary": lambda: large_http(*as_binary(large)),
        "10 MiB grpc": lambda: large_grpc(as_message(large)),
        "10 MiB shared memory": shared.asks(large),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http", required=True)
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--rounds", type=int, default=30)
    flags = parser.parse_args()
    shared = Shared(flags.http, LARGE * 4)
    try:
        asks = forms(flags.http, flags.grpc, shared)
        for ask in list(asks.values()) * WARM_UP:
            ask()
        rounds = [{name: timed(ask) for name, ask in asks.items()} for _ in range(flags.rounds)]
    finally:
        shared.close()
    print(json.dumps({name: [taken[name] for taken in rounds] for name in asks}))


if __name__ == "__main__":
    main()
