"""What Schemathesis does not know of the server under test: its models, and how tensors are written.

Loaded by Schemathesis (schemathesis.toml) in a process of its own. `ADULIS_FUZZ_URL` is the server's REST port, whose models
are asked what they take, with the key `ADULIS_API_KEY` if that is set.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import requests
import schemathesis
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "clients"))
import flatbuffers_tensors

PROTOBUF, FLATBUFFERS = "application/x-protobuf", flatbuffers_tensors.CONTENT_TYPE
OCTETS = "application/octet-stream"
URL = os.environ["ADULIS_FUZZ_URL"]
INFERENCES = ("/infer", "/generate", "/generate_stream", ":predict", "/invocations", "/predict")
INTEGERS = {f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)}
FLOATS = {"FP16": (np.dtype("float16"), 16), "FP32": (np.dtype("float32"), 32), "FP64": (np.dtype("float64"), 64)}


# Holds its instance for as long as its inputs say: up to seven weeks.
LEFT_OUT = "repeat_int32"


def models() -> dict[str, list[dict]]:
    """Inputs of the models that are ready, by the models' names."""
    with requests.Session() as session:
        if key := os.environ.get("ADULIS_API_KEY"):
            session.headers["x-api-key"] = key
        index = session.post(f"{URL}/v2/repository/index", json={"ready": True}, timeout=5).json()
        names = sorted({entry["name"] for entry in index} - {LEFT_OUT})
        return {name: session.get(f"{URL}/v2/models/{name}", timeout=5).json()["inputs"] for name in names}


MODELS = models()


# Named after JSON by the platforms, with binary tensors behind it.
@schemathesis.deserializer("application/vnd.sagemaker-triton.binary+json", "application/vnd.vertex-ai-triton.binary+json")
def as_text(_: schemathesis.DeserializationContext, response: schemathesis.Response) -> str:
    return response.content.decode("latin-1")


@schemathesis.serializer(PROTOBUF, FLATBUFFERS)
def as_it_is(_: schemathesis.SerializationContext, value: object) -> dict:
    return {"data": value if isinstance(value, bytes) else str(value).encode()}


@schemathesis.serializer("application/json")
def as_json(_: schemathesis.SerializationContext, value: object) -> dict:
    """With NaN and infinities as bare words, which the server takes."""
    return {"data": value if isinstance(value, bytes) else json.dumps(value).encode()}


for form in (PROTOBUF, FLATBUFFERS):
    schemathesis.openapi.media_type(form, st.binary(max_size=64))


@schemathesis.hook
def before_load_schema(_: schemathesis.HookContext, raw_schema: dict) -> None:
    """Half of the models that are asked for are there."""
    name = raw_schema["components"]["parameters"]["model"]
    name["schema"] = {"anyOf": [{"enum": list(MODELS)}, name["schema"]]}


def elements(datatype: str) -> st.SearchStrategy:
    if datatype in INTEGERS:
        limits = np.iinfo(INTEGERS[datatype])
        return st.integers(int(limits.min), int(limits.max))
    if datatype in FLOATS:
        return st.floats(width=FLOATS[datatype][1])
    # Digits: models of Triton's examples read numbers out of texts, and fail if there are none.
    return st.booleans() if datatype == "BOOL" else st.integers(-99, 99).map(str)


@st.composite
def tensors(draw: st.DrawFn, inputs: list[dict]) -> list[dict]:
    """Inputs that fit a model, or nearly: a count, a datatype or a shape may be off."""
    drawn = []
    for tensor in inputs:
        datatype = draw(st.sampled_from([tensor["datatype"]] * 9 + ["INT8"]))
        shape = [draw(st.integers(0, 3)) if extent < 0 else extent for extent in tensor["shape"]]
        count = int(np.prod(shape)) + draw(st.sampled_from([0] * 9 + [1]))
        few = draw(st.lists(elements(datatype), min_size=1, max_size=3))
        drawn.append({"name": tensor["name"], "datatype": datatype, "shape": shape, "data": (few * count)[:count]})
    return drawn


PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.integers(0, 10**7),
        "priority": st.integers(0, 3),
        "sequence_id": st.one_of(st.integers(0, 3), st.text(max_size=3)),
        "sequence_start": st.booleans(),
        "sequence_end": st.booleans(),
        "binary_data_output": st.booleans(),
        "non_finite": st.sampled_from(["string", "literal", "null", "other"]),
        "mine": st.text(max_size=4),
    },
)


def as_array(tensor: dict) -> np.ndarray:
    datatype = tensor["datatype"]
    if datatype == "BOOL":
        return np.array(tensor["data"], bool)
    dtype = INTEGERS.get(datatype) or FLOATS.get(datatype, (np.dtype(object), 0))[0]
    return np.array(tensor["data"], dtype)


def as_bytes(tensor: dict) -> bytes:
    if tensor["datatype"] == "BYTES":
        return b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in tensor["data"])
    return as_array(tensor).tobytes()


def as_protobuf(drawn: list[dict]) -> bytes:
    request = service_pb2.ModelInferRequest()
    for tensor in drawn:
        request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        request.raw_input_contents.append(as_bytes(tensor))
    return request.SerializeToString()


def as_flatbuffers(drawn: list[dict]) -> bytes:
    """Without what the client of the examples does not write: byte strings, and shapes that are not those of the data."""
    arrays = {}
    for tensor in drawn:
        if tensor["datatype"] != "BYTES" and len(tensor["data"]) == int(np.prod(tensor["shape"])):
            arrays[tensor["name"]] = as_array(tensor).reshape(tensor["shape"])
    return flatbuffers_tensors.encode_request(arrays)


def as_mixed(drawn: list[dict], parameters: dict) -> tuple[bytes, int]:
    """JSON with all tensors behind it, and the length of the JSON."""
    heads, binary = [], b""
    for tensor in drawn:
        data = as_bytes(tensor)
        heads.append({**tensor, "parameters": {"binary_data_size": len(data)}})
        del heads[-1]["data"]
        binary += data
    head = json.dumps({"inputs": heads, "parameters": parameters}).encode()
    return head + binary, len(head)


@st.composite
def asked(draw: st.DrawFn, case: schemathesis.Case) -> schemathesis.Case:
    """The case with a body that its model may take."""
    model = draw(st.sampled_from(sorted(MODELS)))
    drawn, parameters = draw(tensors(MODELS[model])), draw(PARAMETERS)
    if "model" in (case.path_parameters or {}):
        case.path_parameters["model"] = model
    if "version" in (case.path_parameters or {}):
        case.path_parameters["version"] = 1
    named = {tensor["name"]: tensor["data"] for tensor in drawn}
    # Drawn headers are mostly wrong, and would be all that is told.
    case.headers.clear()
    if case.media_type == PROTOBUF:
        case.body = as_protobuf(drawn)
    elif case.media_type == FLATBUFFERS:
        case.body = as_flatbuffers(drawn)
    elif case.media_type == OCTETS:
        case.body, length = as_mixed(drawn, parameters)
        case.headers["Inference-Header-Content-Length"] = str(length + draw(st.sampled_from([0] * 9 + [1])))
    elif "generate" in case.operation.path:
        case.body = {**named, "parameters": parameters}
    elif "/v1/" in case.operation.path:
        case.body = {"inputs": named, "parameters": parameters}
    else:
        case.body = {"inputs": drawn, "parameters": parameters}
    return case


@schemathesis.hook
def flatmap_case(_: schemathesis.HookContext, case: schemathesis.Case) -> st.SearchStrategy:
    """Most inferences are ones that models take, or nearly."""
    if not case.operation.path.endswith(INFERENCES) or case.method != "POST":
        return st.just(case)
    return st.one_of(st.just(case), asked(case), asked(case))


@schemathesis.check
def nobody_is_let_in(ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """Without credentials only what is open to everybody is answered. Used where the server controls access."""
    is_open = {} in case.operation.definition.raw["security"]
    # Methods that there are not are tried, too.
    is_route = case.method == case.operation.method.upper()
    if is_route and not is_open:
        # A version that is no number names no model about which somebody could be asked.
        is_nothing = response.status_code == 400 and "expected a version number" in response.text
        assert response.status_code in (401, 403) or is_nothing, f"{response.status_code}: {response.text[:200]}"
