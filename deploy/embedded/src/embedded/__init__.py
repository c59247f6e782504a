"""The embedded stack: real servers and the five services on loopback, under one supervisor."""
