"""The metrics page counts what the clients asked."""

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from ask import Asker
from server import Server

REQUESTS = "adulis_inference_requests_total"


def test_requests_rows_and_runs_are_counted(server: Server, asker: Asker) -> None:
    names = (REQUESTS, "adulis_inference_rows_total", "adulis_executions_total")
    before = [server.samples(name, model="mlp") for name in names]
    for _ in range(5):
        asker.infer("mlp", {"INPUT": np.zeros((3, 64), np.float32)})
    requests, rows, runs = (server.samples(name, model="mlp") - old for name, old in zip(names, before))
    assert (requests, rows) == (5, 15)
    assert 1 <= runs <= 5


def test_outcomes_are_told_apart(server: Server, asker: Asker) -> None:
    def bad() -> float:
        return server.samples(REQUESTS, model="mlp") - server.samples(REQUESTS, model="mlp", outcome="ok")

    before = bad()
    with pytest.raises(InferenceServerException):
        asker.infer("mlp", {"INPUT": np.zeros((1, 63), np.float32)})
    assert bad() - before == 1


def test_every_stage_has_a_histogram(lab: Server, lab_asker: Asker) -> None:
    stage_count = "adulis_inference_stage_duration_seconds_count"
    stages = ("queue", "batch", "compute_input", "compute_infer", "compute_output", "total")
    before = {stage: lab.samples(stage_count, model="batched", stage=stage) for stage in stages}
    lab_asker.infer("batched", {"INPUT0": np.zeros((1, 16), np.float32)})
    after = {stage: lab.samples(stage_count, model="batched", stage=stage) for stage in stages}
    assert {stage: after[stage] - before[stage] for stage in stages} == dict.fromkeys(stages, 1)
