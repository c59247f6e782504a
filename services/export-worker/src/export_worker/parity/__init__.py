"""The gate: source and artefact compared on the same pictures, and the verdict with its evidence."""
