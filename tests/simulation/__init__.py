"""The real services' code over a simulated bus, database, store and clock, driven by one seed."""
