"""The stages of a training run. Each leaves its result in the run's folder, and begins by looking there."""
