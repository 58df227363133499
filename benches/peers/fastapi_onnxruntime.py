"""The usual way to serve a model from Python: FastAPI, orjson, ONNX Runtime. The peer that Adulis is measured against.

It speaks as much of the Open Inference Protocol as the comparison needs: `POST /v2/models/mlp/infer` with one FP32
input, in JSON or with the binary tensor extension, and health. Checks are the least that keep it correct, so that the
comparison is not won by validation that the peer need not do. The file is `MODEL`, by default examples/models/mlp.

    uvicorn --app-dir benches/peers fastapi_onnxruntime:app --port 8100 --workers 2 --no-access-log
"""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, HTTPException, Request, Response

ROOT = Path(__file__).resolve().parent.parent.parent
MODEL = os.environ.get("MODEL", str(ROOT / "examples" / "models" / "mlp" / "1" / "model.onnx"))
HEADER = "Inference-Header-Content-Length"


def session() -> onnxruntime.InferenceSession:
    """One engine thread per worker process, as the workers share the cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])


SESSION = session()
INPUT = SESSION.get_inputs()[0].name
OUTPUT = SESSION.get_outputs()[0].name
app = FastAPI()


@app.get("/v2/health/live")
@app.get("/v2/health/ready")
@app.get("/v2/models/{model}/ready")
async def healthy() -> Response:
    return Response(status_code=200)


@app.get("/v2/models/{model}")
async def metadata(model: str) -> Response:
    """What a load generator reads to make up its data."""

    def described(values: list) -> list[dict]:
        return [{"name": v.name, "datatype": "FP32", "shape": [-1, *v.shape[1:]]} for v in values]

    answer = {
        "name": model,
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": described(SESSION.get_inputs()),
        "outputs": described(SESSION.get_outputs()),
    }
    return Response(orjson.dumps(answer), media_type="application/json")


@app.post("/v2/models/{model}/infer")
async def infer(model: str, request: Request) -> Response:
    body = await request.body()
    header_bytes = request.headers.get(HEADER)
    try:
        head = orjson.loads(body if header_bytes is None else memoryview(body)[: int(header_bytes)])
        tensor = head["inputs"][0]
        if header_bytes is None:
            array = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
        else:
            array = np.frombuffer(body, np.float32, offset=int(header_bytes)).reshape(tensor["shape"])
        found = SESSION.run([OUTPUT], {INPUT: array})[0]
    except (ValueError, KeyError, IndexError) as error:
        raise HTTPException(400, str(error)) from error
    return binary_answer(model, head, found) if wants_binary(head) else json_answer(model, head, found)


def wants_binary(head: dict) -> bool:
    if outputs := head.get("outputs"):
        return bool(outputs[0].get("parameters", {}).get("binary_data"))
    return bool(head.get("parameters", {}).get("binary_data_output"))


def described(model: str, head: dict, found: np.ndarray, **more: object) -> dict:
    output = {"name": OUTPUT, "datatype": "FP32", "shape": found.shape, **more}
    return {"id": head.get("id", ""), "model_name": model, "model_version": "1", "outputs": [output]}


def json_answer(model: str, head: dict, found: np.ndarray) -> Response:
    answer = orjson.dumps(described(model, head, found, data=found.ravel()), option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(answer, media_type="application/json")


def binary_answer(model: str, head: dict, found: np.ndarray) -> Response:
    answer = orjson.dumps(described(model, head, found, parameters={"binary_data_size": found.nbytes}))
    return Response(answer + found.tobytes(), media_type="application/octet-stream", headers={HEADER: str(len(answer))})
