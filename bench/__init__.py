"""Benchmarks of the running stack, each a ratio of both sides taken in one run, interleaved; `python -m bench`."""
