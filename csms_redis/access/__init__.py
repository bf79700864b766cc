"""Who may come in, and how: clients and their secrets, roles, failed attempts, TLS."""
