"""Does one job on a provider, as the program `python -m provider_image /golem/jobs/ID/job.json`."""
