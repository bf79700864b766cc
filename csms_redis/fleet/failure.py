"""The error that ends an import or an export early."""


class TransferFailed(Exception):
    """An import or an export ended before all was done.

    The message is one line for the operator.
    """
