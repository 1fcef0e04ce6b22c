"""NIMA, Neural Image Assessment: the model, its data and its training. Knows nothing of Golem."""
