"""Golem's VM as a job sees it: the paths of its files, and the least memory that it has."""

STORE_FOLDER = "/golem/store"  # the image's VOLUMEs; transfers reach nothing else
JOBS_FOLDER = "/golem/jobs"
MODELS_FOLDER = "/opt/nima-golem/models"  # part of the image itself
TASK_MEMORY_GIB = 1.5  # torch, a batch of 32 and a 10 MB shard
