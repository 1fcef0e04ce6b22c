"""The laptop's side: the command line, the pipeline, and everything that talks to Golem."""
