"""The metrics page counts what the clients asked."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest
import requests

# Comes with kserve.
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

import laboratory
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


COUNTERS = {
    "nv_inference_request_success": ("success", "count"),
    "nv_inference_request_duration_us": ("success", "ns"),
    "nv_inference_queue_duration_us": ("queue", "ns"),
    "nv_inference_compute_input_duration_us": ("compute_input", "ns"),
    "nv_inference_compute_infer_duration_us": ("compute_infer", "ns"),
    "nv_inference_compute_output_duration_us": ("compute_output", "ns"),
}


def statistics(server: Server, model: str) -> dict:
    answer = requests.get(f"{server.url}/v2/models/{model}/stats", timeout=5)
    return answer.json()["model_stats"][0]


def test_tritons_names_tell_what_the_statistics_do(lab: Server, lab_asker: Asker) -> None:
    for rows in (1, 3):
        lab_asker.infer("batched", {"INPUT0": np.ones((rows, 16), np.float32)})
    with pytest.raises(InferenceServerException):
        lab_asker.infer("batched", {"INPUT0": np.ones((1, 15), np.float32)})
    told = statistics(lab, "batched")
    stats = told["inference_stats"]

    def sample(name: str, **labels: str) -> float:
        return lab.samples(name, model="batched", version="1", **labels)

    for name, (entry, field) in COUNTERS.items():
        assert sample(name) == stats[entry][field] // (1 if field == "count" else 1000), name
    assert stats["success"]["count"] >= 2
    assert sample("nv_inference_count") == told["inference_count"]
    assert sample("nv_inference_exec_count") == told["execution_count"]
    assert sample("nv_inference_pending_request_count") == 0
    assert sample("nv_inference_request_failure") == stats["fail"]["count"]
    assert sample("nv_inference_request_failure", reason="OTHER") >= 1
    assert 0 < sample("nv_model_load_duration_secs") < 60


def test_failures_have_tritons_reasons(lab: Server, lab_asker: Asker) -> None:
    def failed(model: str, reason: str) -> float:
        return lab.samples("nv_inference_request_failure", model=model, version="1", reason=reason)

    before = failed("failing", "BACKEND"), failed("slow", "REJECTED")
    with pytest.raises(InferenceServerException):
        lab_asker.infer("failing", {"INPUT0": np.frombuffer(bytes([1] * 64), np.float32)[None]})
    with pytest.raises(InferenceServerException):
        lab_asker.infer("slow", {"INPUT0": np.zeros((1, 16), np.float32)}, timeout=1000)
    assert (failed("failing", "BACKEND"), failed("slow", "REJECTED")) == (before[0] + 1, before[1] + 1)


def test_a_model_that_nobody_asked_is_told_too(server: Server) -> None:
    text = requests.get(f"http://{server.metrics}/metrics", timeout=5).text
    # As scripts look for it: these labels in this order.
    assert re.search(r'^nv_inference_request_success\{model="identity",version="1"\} \d+$', text, re.MULTILINE)
    assert re.search(r"^nv_cpu_utilization [01](\.\d+)?$", text, re.MULTILINE)
    assert server.samples("nv_cpu_memory_total_bytes") > server.samples("nv_cpu_memory_used_bytes") > 0


def test_prometheus_reads_both_formats(server: Server) -> None:
    url = f"http://{server.metrics}/metrics"
    plain = requests.get(url, timeout=5)
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    opened = requests.get(url, headers={"accept": accept}, timeout=5)
    assert opened.headers["content-type"].startswith("application/openmetrics-text")

    # Of the older format, this parser puts `_total` behind every counter that lacks it, Triton's own too.
    def names(families) -> dict[str, str]:
        return {s.name.removesuffix("_total"): family.type for family in families for s in family.samples}

    classic = names(text_string_to_metric_families(plain.text))
    modern = names(openmetrics_families(opened.text))
    assert classic.keys() == modern.keys()
    for name in COUNTERS:
        assert (classic[name], modern[name]) == ("counter", "unknown")
    assert classic["nv_inference_pending_request_count"] == "gauge"
    assert classic["adulis_executions"] == modern["adulis_executions"] == "counter"


def test_promtool_has_remarks_about_style_alone(server: Server) -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip(os.environ.get("ADULIS_PROMTOOL_MISSING", "promtool is not installed (Debian: prometheus)"))
    text = requests.get(f"http://{server.metrics}/metrics", timeout=5).text
    checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True)
    # 1 would be a fault; 3 is a matter of style, such as Triton's counters without `_total`.
    assert checked.returncode in (0, 3), checked.stderr
    assert all(line.startswith("nv_") for line in checked.stderr.splitlines()), checked.stderr


def test_tritons_names_can_be_left_out(tmp_path) -> None:
    laboratory.configure(tmp_path, "m", laboratory.IDENTITY.format(name="m", max_batch_size=1, more=""))
    with Server(tmp_path, flags=("--set", "metrics.triton_names=false")) as server:
        text = requests.get(f"http://{server.metrics}/metrics", timeout=5).text
    assert "adulis_models" in text and "nv_" not in text
