"""`nima-golem serve`: scoring as a small HTTP service, for this machine or, if asked to, for a network."""
