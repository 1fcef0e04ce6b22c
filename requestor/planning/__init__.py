"""Plans the providers' work: how much each task has, and how long each part of it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.planning.attempt_time import START_SECONDS, USUAL_START_SECONDS, AttemptTime, attempt_times
    from requestor.planning.memory import JOB_MEMORY, VM_ROOM_MB, check_memory
    from requestor.planning.speeds import JOB_CORE_SECONDS, SLOW_CORES, USUAL_THREADS, Speed, speed_of
    from requestor.planning.stages import (
        SHARD_IMAGES,
        PlannedTask,
        RunSize,
        embedding_tasks,
        evaluation_tasks,
        round_tasks,
        stage_seconds,
        waiting_seconds,
    )
    from requestor.planning.uplink import (
        LEAST_UPLINK,
        UPLOAD_SECONDS,
        UPLOADS_AT_ONCE,
        USUAL_UPLINK,
        Uplink,
        Upload,
        bytes_of,
        upload_seconds,
    )
    from requestor.planning.work import RoundWork, TaskTime, forward_core_seconds, shards_within
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "attempt_time": ["START_SECONDS", "USUAL_START_SECONDS", "AttemptTime", "attempt_times"],
            "memory": ["JOB_MEMORY", "VM_ROOM_MB", "check_memory"],
            "speeds": ["JOB_CORE_SECONDS", "SLOW_CORES", "USUAL_THREADS", "Speed", "speed_of"],
            "stages": [
                "SHARD_IMAGES",
                "PlannedTask",
                "RunSize",
                "embedding_tasks",
                "evaluation_tasks",
                "round_tasks",
                "stage_seconds",
                "waiting_seconds",
            ],
            "uplink": [
                "LEAST_UPLINK",
                "UPLOADS_AT_ONCE",
                "UPLOAD_SECONDS",
                "USUAL_UPLINK",
                "Uplink",
                "Upload",
                "bytes_of",
                "upload_seconds",
            ],
            "work": ["RoundWork", "TaskTime", "forward_core_seconds", "shards_within"],
        },
    )

__all__ = [
    "JOB_CORE_SECONDS",
    "JOB_MEMORY",
    "LEAST_UPLINK",
    "SHARD_IMAGES",
    "SLOW_CORES",
    "START_SECONDS",
    "UPLOADS_AT_ONCE",
    "UPLOAD_SECONDS",
    "USUAL_START_SECONDS",
    "USUAL_THREADS",
    "USUAL_UPLINK",
    "VM_ROOM_MB",
    "AttemptTime",
    "PlannedTask",
    "RoundWork",
    "RunSize",
    "Speed",
    "TaskTime",
    "Uplink",
    "Upload",
    "attempt_times",
    "bytes_of",
    "check_memory",
    "embedding_tasks",
    "evaluation_tasks",
    "forward_core_seconds",
    "round_tasks",
    "shards_within",
    "speed_of",
    "stage_seconds",
    "upload_seconds",
    "waiting_seconds",
]
