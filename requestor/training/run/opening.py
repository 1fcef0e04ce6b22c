"""Opens a training run: makes its configuration, folder and backend, and puts them together."""

from __future__ import annotations

import os

from nima.ava import Dataset, read_ratings
from nima.model import find_backbone
from requestor.backends import image_for, open_backend
from requestor.evaluation import chosen_test_split
from requestor.records import RunFolder, log_to
from requestor.setup import golem_environment, require_daemon
from requestor.terminal import RunProgress
from requestor.training import RunConfig, TrainOptions
from requestor.training.run.pipeline import TrainingRun
from requestor.training.run.room import bytes_of_run, require_room


def open_run(options: TrainOptions) -> tuple[TrainingRun, RunProgress]:
    """Opens the run that the options describe, new or resumed. It can be started then; nothing has been spent yet.

    Raises RequestorError and NimaError for every error that can be found before the first provider is asked.
    """
    find_backbone(options.backbone)
    environment = golem_environment() if options.backend == "golem" else dict(os.environ)
    config = RunConfig.of(options, environment)
    if options.backend == "golem" and not (config.run_dir / "summary.json").exists():
        require_daemon(environment, options.network)
    split = chosen_test_split(config.ava, options.test_ids, config.seed)
    image = image_for(config.backend, environment)
    description = Dataset.read(config.ava)
    require_room(config.run_dir, bytes_of_run(config, len(read_ratings(config.ava))))
    folder = RunFolder(config.run_dir, {**config.identity(), "split": split.hash})
    try:
        again = folder.options() == options.to_json()
        folder.write("options.json", options.to_json())
        folder.write("data.json", description.as_json())
        log_to(folder.path / "log.txt")

        progress = RunProgress()
        backend = open_backend(config, folder.path, folder.ledger, environment, image)
        return TrainingRun(config, folder, backend, split, progress, again), progress
    except BaseException:
        folder.close()
        raise
