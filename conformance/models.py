"""The models that the examples of Triton's clients use: `examples/conformance`."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue

import numpy as np
import tritonclient.grpc as triton_grpc

from server import ROOT, Server

CONFORMANCE = ROOT / "examples" / "conformance"
PATIENCE_SECONDS = 20


class Stream:
    """A stream of one gRPC client, whose answers and errors are taken in the order they came."""

    def __init__(self, client: triton_grpc.InferenceServerClient, **arguments: object):
        self.client = client
        self.answers: Queue = Queue()
        client.start_stream(callback=self._take, **arguments)

    def _take(self, result: triton_grpc.InferResult | None, error: Exception | None) -> None:
        self.answers.put(error or result)

    def ask(self, model: str, inputs: list, **arguments: object) -> None:
        self.client.async_stream_infer(model, inputs, **arguments)

    def next(self) -> triton_grpc.InferResult:
        answer = self.answers.get(timeout=PATIENCE_SECONDS)
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def stream(server: Server, **arguments: object) -> Iterator[Stream]:
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        opened = Stream(client, **arguments)
        yield opened
        client.stop_stream()


def is_last(answer: triton_grpc.InferResult) -> bool:
    return answer.get_response().parameters["triton_final_response"].bool_param


def tensor(module: object, name: str, array: np.ndarray, datatype: str) -> object:
    made = module.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def repeat(values: list[int], delays: int | list[int] = 0, wait: int = 0) -> list:
    """Inputs of `repeat_int32`: an answer for each value, so many milliseconds after the one before."""
    delays = [delays] * len(values) if isinstance(delays, int) else delays
    return [
        tensor(triton_grpc, "IN", np.array(values, np.int32), "INT32"),
        tensor(triton_grpc, "DELAY", np.array(delays, np.uint32), "UINT32"),
        tensor(triton_grpc, "WAIT", np.array([wait], np.uint32), "UINT32"),
    ]


def add_sub(module: object, values: np.ndarray, datatype: str) -> list:
    """Inputs of the `simple` models: `values` and ones."""
    ones = np.ones_like(values, np.int64)
    if datatype == "BYTES":
        text = np.vectorize(lambda number: str(number).encode(), otypes=[np.object_])
        return [tensor(module, "INPUT0", text(values), datatype), tensor(module, "INPUT1", text(ones), datatype)]
    return [
        tensor(module, "INPUT0", values, datatype),
        tensor(module, "INPUT1", ones.astype(values.dtype), datatype),
    ]
