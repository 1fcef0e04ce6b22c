"""Names the paths of a job's files in Golem's VM, and the least memory that the VM has."""

STORE_FOLDER = "/golem/store"  # this and the next folder are the image's VOLUMEs, the only folders that transfers reach
JOBS_FOLDER = "/golem/jobs"
MODELS_FOLDER = "/opt/nima-golem/models"  # part of the image itself
TASK_MEMORY_GIB = 1.5  # enough for torch, a batch of 32 and a 10 MB shard
