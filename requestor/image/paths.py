"""Golem's VM as a job sees it: the paths of its files, and the least memory that it has."""

STORE = "/golem/store"  # the image's VOLUMEs; transfers reach nothing else
JOBS = "/golem/jobs"
MODELS = "/opt/nima-golem/models"  # part of the image itself
MEMORY_GIB = 1.5  # torch, a batch of 32 and a 10 MB shard
