#!/usr/bin/env python3
"""Classifies a batch of real digits with Triton's client, unchanged: binary tensors over gRPC, or over REST.

Usage: python examples/clients/classify_triton.py [grpc|http] [localhost:8001]
"""

import json
import sys
from pathlib import Path

import numpy as np

protocol = sys.argv[1] if len(sys.argv) > 1 else "grpc"
if protocol == "grpc":
    import tritonclient.grpc as triton
else:
    import tritonclient.http as triton

DATA = Path(__file__).parent.parent / "models" / "digits" / "held_out.json"

address = sys.argv[2] if len(sys.argv) > 2 else {"grpc": "localhost:8001", "http": "localhost:8000"}[protocol]
held_out = json.loads(DATA.read_text())
images = np.array(held_out["images"][:8], np.float32).reshape(-1, 1, 8, 8)

image = triton.InferInput("image", list(images.shape), "FP32")
image.set_data_from_numpy(images)
with triton.InferenceServerClient(address) as client:
    result = client.infer("digits", [image], outputs=[triton.InferRequestedOutput("label")])

print("written:", *held_out["labels"][:8])
print("read:   ", *result.as_numpy("label")[:, 0])
