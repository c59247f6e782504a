"""Adapters every Modelport service needs; no business words, nothing heavy imported here."""
