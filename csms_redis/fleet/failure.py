"""The errors that end an import or an export early."""


class TransferFailed(Exception):
    """An import or an export ended before all was done.

    The message is one line for the operator.
    """


class UnusableSource(Exception):
    """A source cannot be read as it is: what is wrong with it is wrong with all of its rows.

    The message is one line for the operator, and quotes no value.
    """
