"""One way of asking, for tests that say the same of HTTP (binary and JSON tensors) and gRPC."""

from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from server import Server

PROTOCOLS = ["http-binary", "http-json", "grpc"]
Arrays = dict[str, np.ndarray]


def datatype(array: np.ndarray) -> str:
    return "BYTES" if array.dtype.kind in "OSU" else np_to_triton_dtype(array.dtype)


def tensors(module: Any, inputs: Arrays, **binary: bool) -> list:
    """tritonclient's inputs, for either of its modules."""
    made = []
    for name, array in inputs.items():
        tensor = module.InferInput(name, list(array.shape), datatype(array))
        tensor.set_data_from_numpy(array, **binary)
        made.append(tensor)
    return made


class Asker:
    """A tritonclient client of one protocol. `infer` answers arrays by output name."""

    def __init__(self, server: Server, protocol: str):
        self.protocol = protocol
        self.module = triton_grpc if protocol == "grpc" else triton_http
        self.binary = {} if protocol == "grpc" else {"binary_data": protocol == "http-binary"}
        address = server.grpc if protocol == "grpc" else server.http
        self.client = self.module.InferenceServerClient(address)

    def infer(self, model: str, inputs: Arrays, outputs: list[str] | None = None, **options: Any) -> Arrays:
        result = self.raw(model, inputs, outputs, **options)
        response = result.get_response(**({"as_json": True} if self.protocol == "grpc" else {}))
        return {output["name"]: result.as_numpy(output["name"]) for output in response["outputs"]}

    def raw(self, model: str, inputs: Arrays, outputs: list[str] | None = None, **options: Any) -> Any:
        wanted = None
        if outputs is not None:
            wanted = [self.module.InferRequestedOutput(name, **self.binary) for name in outputs]
        return self.client.infer(model, tensors(self.module, inputs, **self.binary), outputs=wanted, **options)

    def close(self) -> None:
        self.client.close()


HTTP_OF_GRPC = {
    "StatusCode.INVALID_ARGUMENT": "400",
    "StatusCode.NOT_FOUND": "404",
    "StatusCode.UNAVAILABLE": "503",
    "StatusCode.DEADLINE_EXCEEDED": "504",
}


def status(error: InferenceServerException) -> str:
    """The status in HTTP's terms, whichever protocol it came over."""
    return HTTP_OF_GRPC.get(error.status(), error.status())
