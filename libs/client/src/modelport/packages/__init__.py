"""Packages on this machine: what they hold, whether they are whole and whose, how two of them differ."""
