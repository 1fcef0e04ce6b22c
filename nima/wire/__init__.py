"""Defines what travels between requestor and provider: one side writes it, the other reads it without trust.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nima.wire import PROTOCOL, Job, default_plan, read_shard, write_shard
    >>> folder = tempfile.TemporaryDirectory()
    >>> votes, jpeg = [0, 0, 0, 1, 2, 1, 0, 0, 0, 0], b"\\xff\\xd8\\xff"
    >>> info = write_shard(Path(folder.name), image_ids=[7], votes=[votes], jpegs=[jpeg])
    >>> read_shard(info.path).image_ids.tolist()
    [7]
    >>> folder.cleanup()
    >>> job = Job(PROTOCOL, "train", "job-1", "mobilenet_v1", store="/golem/store", base=info.sha256,
    ...           shards=(info.sha256,), plan=default_plan(images=1, seed=0), threads=0)
    >>> Job.from_json(job.to_json()) == job
    True
    >>> Job.from_json("{}")
    Traceback (most recent call last):
    ...
    nima.wire.jobs.JobError: This is not a valid job: it speaks protocol None and this program 4
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from nima.wire.features import decode_features, encode_features, max_features_bytes
    from nima.wire.jobs import (
        EXIT_VERSION_MISMATCH,
        FEATURES_FILE,
        JOB_FILE,
        MAX_RESULT_BYTES,
        OUTPUT_FILES,
        PREDICTIONS_FILE,
        PROTOCOL,
        RESULT_FILE,
        UPDATE_FILE,
        WEIGHTS_FILE,
        Job,
        JobError,
        JobKind,
        JobResult,
        VersionMismatch,
        named_version,
        state_file,
    )
    from nima.wire.plan import TrainingPlan, default_plan
    from nima.wire.predictions import decode_predictions, encode_predictions, max_predictions_bytes
    from nima.wire.shards import Shard, ShardInfo, image_places, read_shard, write_shard
    from nima.wire.updates import (
        decode_update,
        decode_weights,
        encode_update,
        encode_weights,
        max_update_bytes,
        max_weights_bytes,
        round_update,
        schema_of,
    )
    from nima.wire.votes import read_votes, write_votes
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "features": ["decode_features", "encode_features", "max_features_bytes"],
            "jobs": [
                "EXIT_VERSION_MISMATCH",
                "FEATURES_FILE",
                "JOB_FILE",
                "Job",
                "JobError",
                "JobResult",
                "JobKind",
                "MAX_RESULT_BYTES",
                "OUTPUT_FILES",
                "PREDICTIONS_FILE",
                "PROTOCOL",
                "RESULT_FILE",
                "UPDATE_FILE",
                "VersionMismatch",
                "WEIGHTS_FILE",
                "named_version",
                "state_file",
            ],
            "plan": ["TrainingPlan", "default_plan"],
            "predictions": ["decode_predictions", "encode_predictions", "max_predictions_bytes"],
            "shards": ["Shard", "ShardInfo", "image_places", "read_shard", "write_shard"],
            "updates": [
                "decode_update",
                "decode_weights",
                "encode_update",
                "encode_weights",
                "max_update_bytes",
                "max_weights_bytes",
                "round_update",
                "schema_of",
            ],
            "votes": ["read_votes", "write_votes"],
        },
    )

__all__ = [
    "EXIT_VERSION_MISMATCH",
    "FEATURES_FILE",
    "JOB_FILE",
    "MAX_RESULT_BYTES",
    "OUTPUT_FILES",
    "PREDICTIONS_FILE",
    "PROTOCOL",
    "RESULT_FILE",
    "UPDATE_FILE",
    "WEIGHTS_FILE",
    "Job",
    "JobError",
    "JobKind",
    "JobResult",
    "Shard",
    "ShardInfo",
    "TrainingPlan",
    "VersionMismatch",
    "decode_features",
    "decode_predictions",
    "decode_update",
    "decode_weights",
    "default_plan",
    "encode_features",
    "encode_predictions",
    "encode_update",
    "encode_weights",
    "image_places",
    "max_features_bytes",
    "max_predictions_bytes",
    "max_update_bytes",
    "max_weights_bytes",
    "named_version",
    "read_shard",
    "read_votes",
    "round_update",
    "schema_of",
    "state_file",
    "write_shard",
    "write_votes",
]
