"""The one program that runs on a provider: `python -m provider_image job.json`."""
