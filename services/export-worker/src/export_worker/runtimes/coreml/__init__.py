"""Core ML models off Apple's systems: a reference evaluator that runs a saved ML program operator by operator with torch.

What each operator computes is written down in coremltools' definitions of MIL (coremltools/converters/mil/mil/ops/defs).
"""
