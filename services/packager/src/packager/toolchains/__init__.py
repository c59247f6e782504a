"""Compilers and runtimes that the wrappers of other languages are built and proven with."""
