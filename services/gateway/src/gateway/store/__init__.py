"""All SQL of the gateway, one module per aggregate; every function takes the connection of the caller's transaction."""
