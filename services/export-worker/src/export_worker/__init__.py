"""Turns a checkpoint into an exported model that is proven equal to its source."""
