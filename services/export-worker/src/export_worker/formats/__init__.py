"""One converter per (source, target) pair, imported only inside a step."""
