"""What an artefact's graph consists of, counted in the artefact's own bytes; constants are counted as parameters, not as operators."""
