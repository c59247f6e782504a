"""One adapter per runtime that can execute an artefact here, imported only inside a step."""
