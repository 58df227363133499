#!/usr/bin/env python3
"""Classifies one real digit with nothing but `requests`: plain JSON over REST.

Usage: python examples/clients/classify_requests.py [http://localhost:8000]
"""

import json
import sys
from pathlib import Path

import requests

REQUEST = Path(__file__).parent.parent / "models" / "digits" / "request.json"

url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"
answer = requests.post(f"{url}/v2/models/digits/infer", json=json.loads(REQUEST.read_text()), timeout=10)
if answer.status_code != 200:
    sys.exit(f"{answer.status_code}: {answer.json()['error']}")
outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
label = outputs["label"][0]
print(f"it is a {label}, with probability {outputs['probabilities'][label]:.3f}")
