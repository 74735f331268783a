"""Speed as a ratio: the same work by a hand-written loop and by a pipeline, in one process. `python -m tests.bench`."""
