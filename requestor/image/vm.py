"""Golem's VM as a job finds it: where its files are, and the memory that there is at least."""

STORE = "/golem/store"  # the image's VOLUMEs; transfers reach nothing else
JOBS = "/golem/jobs"
MODELS = "/opt/nima-golem/models"  # of the image itself
MEMORY_GIB = 1.5  # torch, a batch of 32 and a 10 MB shard
