"""One module a command: parse the options, call the library, print. Nothing else."""
