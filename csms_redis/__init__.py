"""Charge station registry: the MaEVe CSMS internal API on Redis."""

from importlib.metadata import version

__version__ = version("csms-redis")
