"""What every Modelport service speaks; imports only the standard library and msgspec."""
