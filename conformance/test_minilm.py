"""The sentence embeddings against the stored answers of an independent forward pass (see make_minilm.py)."""

import json

import numpy as np

from ask import Asker
from server import EXAMPLES

TOLERANCE = 1e-5


def cases() -> list[dict]:
    return json.loads((EXAMPLES / "minilm" / "reference.json").read_text())["sentences"]


def padded(sentences: list[dict]) -> dict[str, np.ndarray]:
    longest = max(len(case["input_ids"]) for case in sentences)
    ids = np.zeros((len(sentences), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, case in enumerate(sentences):
        ids[row, : len(case["input_ids"])] = case["input_ids"]
        mask[row, : len(case["input_ids"])] = 1
    return {"input_ids": ids, "attention_mask": mask}


def test_each_alone(asker: Asker) -> None:
    for case in cases():
        found = asker.infer("minilm", padded([case]))["sentence_embedding"]
        np.testing.assert_allclose(found, [case["embedding"]], atol=TOLERANCE)


def test_padded_batch(asker: Asker) -> None:
    found = asker.infer("minilm", padded(cases()))["sentence_embedding"]
    np.testing.assert_allclose(found, [case["embedding"] for case in cases()], atol=TOLERANCE)


def test_similar_sentences_are_nearest(asker: Asker) -> None:
    embedding = asker.infer("minilm", padded(cases()))["sentence_embedding"]
    similarity = embedding @ embedding.T
    np.fill_diagonal(similarity, -1)
    assert similarity.argmax() in (0 * len(embedding) + 1, 1 * len(embedding) + 0)
