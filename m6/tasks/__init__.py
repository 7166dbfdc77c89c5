"""One file a task: read, sample, decode, score."""
