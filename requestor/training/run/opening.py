"""Opens a training run: makes its configuration, folder and backend, and puts them together."""

from __future__ import annotations

import os

from nima.model import find_backbone
from requestor.backends import image_for, open_backend
from requestor.evaluation import chosen_test_split
from requestor.records import RunFolder, log_to
from requestor.setup import golem_environment
from requestor.terminal import RunProgress
from requestor.training import RunConfig, TrainOptions
from requestor.training.run.pipeline import TrainingRun


def open_run(options: TrainOptions) -> tuple[TrainingRun, RunProgress]:
    """Opens the run that the options describe, new or resumed. It can be started then; nothing has been spent yet.

    Raises RequestorError and NimaError for every error that can be found before the first provider is asked.
    """
    environment = golem_environment() if options.backend == "golem" else dict(os.environ)
    find_backbone(options.backbone)
    config = RunConfig.of(options, environment)
    split = chosen_test_split(config.ava, options.test_ids, config.seed)
    image = image_for(config.backend, environment)
    folder = RunFolder(config.run_dir, {**config.identity(), "split": split.hash})
    again = folder.options() == options.to_json()
    folder.write("options.json", options.to_json())
    log_to(folder.path / "log.txt")

    progress = RunProgress()
    backend = open_backend(config, folder.path, folder.ledger, environment, image)
    return TrainingRun(config, folder, backend, split, progress, again), progress
