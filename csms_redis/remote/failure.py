"""The error that ends what is asked of a service."""


class UnusableService(Exception):
    """A service cannot be reached, or does not let the command do what it is to do.

    The message is one line for the operator.
    """
