"""Each module is one command: it parses the options, calls the library and prints. It does nothing else."""
