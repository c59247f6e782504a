"""Changes to a torch module that keep its answers and let a target's converter take it."""
