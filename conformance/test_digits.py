"""The accuracy of `digits`, measured through the server on the scans that it was not trained on."""

import json

import numpy as np
import pytest
import requests

from ask import Asker
from server import EXAMPLES, Server

HELD_OUT = json.loads((EXAMPLES / "digits" / "held_out.json").read_text())
LABELS = np.array(HELD_OUT["labels"])
IMAGES = np.array(HELD_OUT["images"], np.float32).reshape(-1, *HELD_OUT["shape"])
RIGHT = 359  # of 360, as make_digits.py printed


def test_one_by_one(asker: Asker) -> None:
    answers = [asker.infer("digits", {"image": image[None]}) for image in IMAGES]
    found = np.array([answer["label"][0, 0] for answer in answers])
    assert (found == LABELS).sum() == RIGHT
    for answer in answers:
        assert answer["probabilities"].shape == (1, 10)
        assert answer["probabilities"].sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("rows", [7, 60])
def test_in_batches(asker: Asker, rows: int) -> None:
    parts = [asker.infer("digits", {"image": IMAGES[i : i + rows]}) for i in range(0, len(IMAGES), rows)]
    assert (np.concatenate([part["label"] for part in parts])[:, 0] == LABELS).sum() == RIGHT


def test_a_batch_answers_as_its_rows_do(asker: Asker) -> None:
    together = asker.infer("digits", {"image": IMAGES[:16]})["probabilities"]
    alone = [asker.infer("digits", {"image": image[None]})["probabilities"][0] for image in IMAGES[:16]]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_first_request_of_the_readme(server: Server) -> None:
    request = (EXAMPLES / "digits" / "request.json").read_bytes()
    answer = requests.post(
        f"{server.url}/v2/models/digits/infer", request, headers={"content-type": "application/json"}, timeout=5
    )
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    assert outputs["label"] == {"name": "label", "datatype": "INT64", "shape": [1, 1], "data": [int(LABELS[0])]}
    assert np.argmax(outputs["probabilities"]["data"]) == LABELS[0] == 7
