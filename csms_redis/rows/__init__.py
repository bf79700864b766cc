"""Rows: what a file or a bulk request has for a record, and the record that it makes."""
