"""A service's records over its HTTP API, as they are had from Redis elsewhere."""
