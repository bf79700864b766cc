"""The public port: bytes in, bytes out."""
