"""Jobs and results: they are read as they were written, and everything else is refused with a sentence."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nima.safe_io.text import one_line
from nima.version import VERSION
from nima.wire.jobs import MAX_RESULT_BYTES, PROTOCOL, Job, JobError, JobResult, VersionMismatch
from nima.wire.plan import TrainingPlan, default_plan

HASH = "0123456789abcdef" * 4

PLAN = TrainingPlan(
    steps=10,
    batch_size=8,
    lr_backbone=0.001,
    lr_head=0.01,
    momentum=0.9,
    weight_decay=0.0,
    trainable_blocks=2,
    seed=7,
    augment=True,
)
JOB = Job(
    protocol=PROTOCOL,
    kind="train",
    job_id="round-3_a",
    backbone="mobilenet_v2",
    store="/golem/store",
    base=HASH,
    shards=(HASH, HASH[::-1]),
    plan=PLAN,
    threads=2,
    weights=HASH,
)
RESULT = JobResult(
    protocol=PROTOCOL,
    job_id="round-3_a",
    kind="train",
    ok=True,
    error=None,
    samples=80,
    seconds=12.5,
    loss=0.07,
    output="update.safetensors",
    output_sha256=HASH,
    versions={"torch": "2.13.0+cpu"},
)


def test_a_job_comes_back() -> None:
    planless = dataclasses.replace(JOB, plan=None, weights=None, kind="evaluate")
    for job in (JOB, planless, dataclasses.replace(planless, kind="embed")):
        assert Job.from_json(job.to_json()) == job


def test_a_result_comes_back() -> None:
    failed = JobResult(protocol=PROTOCOL, job_id="a", kind=None, ok=False, error="It broke.")
    for result in (RESULT, failed):
        assert JobResult.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": 2.0},
        {"protocol": True},
        {"protocol": "1"},
        {"kind": "destroy"},
        {"kind": ["train"]},
        {"job_id": "../../etc"},
        {"job_id": ""},
        {"job_id": "a" * 65},
        {"job_id": "a\n"},
        {"backbone": ""},
        {"store": "golem/store"},
        {"base": HASH[:-1]},
        {"base": HASH.upper()},
        {"shards": []},
        {"shards": HASH},
        {"shards": [HASH, "../" + HASH]},
        {"shards": [7]},
        {"plan": None},
        {"plan": []},
        {"threads": -1},
        {"threads": 2.5},
        {"threads": True},
        {"weights": "latest"},
        {"surprise": 1},
    ],
)
def test_a_job_with_one_thing_wrong_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(JobError, match="not a valid job"):
        Job.from_json(json.dumps(json.loads(JOB.to_json()) | change))


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"steps": 1.5},
        {"batch_size": 0},
        {"lr_head": -1},
        {"lr_head": "0.1"},
        {"momentum": 1.1},
        {"trainable_blocks": -2},
        {"seed": -1},
        {"augment": 1},
        {"dropout": 1.0},
        {"proximal": -1.0},
        {"emd_r": 0.5},
        {"nesterov": True},
    ],
)
def test_a_plan_with_one_thing_wrong_is_refused(change: dict[str, Any]) -> None:
    data = json.loads(JOB.to_json())
    data["plan"] |= change
    with pytest.raises(JobError, match="not a valid job"):
        Job.from_json(json.dumps(data))


@pytest.mark.parametrize(
    "change",
    [
        {"ok": False},
        {"ok": 1},
        {"error": "It broke."},
        {"ok": False, "error": "\x1b[2J"},
        {"ok": False, "error": "x" * 1001},
        {"samples": -1},
        {"samples": 10**30},
        {"seconds": 10**400},
        {"loss": 2},
        {"loss": "0.1"},
        {"output": "../job.json"},
        {"output": None},
        {"output_sha256": None},
        {"versions": {"torch": 2}},
        {"versions": {f"package {i}": "1" for i in range(17)}},
        {"versions": {"torch\n": "2"}},
    ],
)
def test_a_result_with_one_thing_wrong_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(JobError, match="not a valid result"):
        JobResult.from_json(json.dumps(json.loads(RESULT.to_json()) | change))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '"job"',
        "[" * 100_000,
        '{"protocol": NaN}',
        RESULT.to_json().replace("12.5", "Infinity"),
    ],
)
def test_what_is_no_object_of_json_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="not a valid"):
        JobResult.from_json(text[:MAX_RESULT_BYTES])


def test_a_key_that_stands_twice_is_refused() -> None:
    with pytest.raises(JobError, match="a key stands twice"):
        JobResult.from_json(RESULT.to_json().replace('"ok": true', '"ok": false, "ok": true'))


@pytest.mark.parametrize("name", ["job_id", "ok", "error"])
def test_a_missing_key_is_named(name: str) -> None:
    data = json.loads(RESULT.to_json())
    del data[name]
    with pytest.raises(JobError, match=f"missing key '{name}'"):
        JobResult.from_json(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "theirs"),
    [
        ({"protocol": 9, "task": {}}, f"nima-golem {VERSION} (protocol 9)"),
        ({"version": "0.0.1", "plan": "x"}, f"nima-golem 0.0.1 (protocol {PROTOCOL})"),
        ({"version": None}, f"nima-golem None (protocol {PROTOCOL})"),
        ({"version": "\x1b[2J" + 99 * "9"}, f"nima-golem [2J{37 * '9'} (protocol {PROTOCOL})"),
    ],
)
def test_a_job_of_another_version_is_refused_whatever_else_it_holds(change: dict[str, Any], theirs: str) -> None:
    with pytest.raises(VersionMismatch) as raised:
        Job.from_json(json.dumps(json.loads(JOB.to_json()) | change))
    ours = f"nima-golem {VERSION} (protocol {PROTOCOL})"
    assert str(raised.value) == f"The job is of {theirs}; this program is {ours}."


def test_a_job_that_names_no_version_is_of_another_one() -> None:
    data = json.loads(JOB.to_json())
    del data["version"]
    with pytest.raises(VersionMismatch, match="of no version"):
        Job.from_json(json.dumps(data))


def test_a_result_of_another_protocol_is_refused_whatever_else_it_holds() -> None:
    with pytest.raises(VersionMismatch, match="The result is of protocol 1; this program is nima-golem"):
        JobResult.from_json('{"protocol": 1, "surprise": {}}')


def test_an_endless_result_is_refused() -> None:
    with pytest.raises(JobError, match="longer than"):
        JobResult.from_json(" " * (MAX_RESULT_BYTES + 1))


@given(st.text())
def test_any_text_can_be_made_printable(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 1000
    assert JobResult(protocol=PROTOCOL, job_id="a", kind=None, ok=False, error=line).error == line


@given(st.integers(1, 100_000), st.integers(0, 2**31), st.integers(-1, 20))
def test_the_default_plan_is_valid_for_any_shard(images: int, seed: int, blocks: int) -> None:
    plan = default_plan(images, seed, blocks)
    assert plan.steps * plan.batch_size >= images
    assert (plan.seed, plan.trainable_blocks) == (seed, blocks)


def test_jobs_need_the_standard_library_only() -> None:
    program = "import sys, nima.wire.jobs; assert not {'torch', 'numpy', 'PIL', 'safetensors'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
