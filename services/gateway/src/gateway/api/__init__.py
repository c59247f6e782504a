"""HTTP in: one module per resource, each a table of routes that turns requests into commands and rows into answers."""
