"""Who may call, and over what: clients and their secrets, roles, failed attempts, TLS."""
