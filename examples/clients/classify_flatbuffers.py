#!/usr/bin/env python3
"""Classifies one real digit with FlatBuffers over plain HTTP: no JSON, nothing copied on either side.

Usage: python examples/clients/classify_flatbuffers.py [http://localhost:8000]
"""

import json
import sys
from pathlib import Path

import numpy as np
import requests

from flatbuffers_tensors import CONTENT_TYPE, decode_response, encode_request

REQUEST = Path(__file__).parent.parent / "models" / "digits" / "request.json"

url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"
scan = json.loads(REQUEST.read_text())["inputs"][0]
image = np.array(scan["data"], np.float32).reshape(scan["shape"])
answer = requests.post(
    f"{url}/v2/models/digits/infer",
    data=encode_request({"image": image}),
    headers={"Content-Type": CONTENT_TYPE},
    timeout=10,
)
if answer.status_code != 200:
    sys.exit(f"{answer.status_code}: {answer.json()['error']}")
outputs = decode_response(answer.content)
label = outputs["label"][0, 0]
print(f"it is a {label}, with probability {outputs['probabilities'][0, label]:.3f}")
