"""Why the embedded server cannot be started, in words for the operator."""

from pathlib import Path


class EmbeddedError(Exception):
    """The embedded server cannot be started; the message is one line for the operator."""


class DataDirectoryInUse(EmbeddedError):
    """Another live process owns the data directory.

    Attributes:
        owner: the process id of the owner; empty where the id is not known.
        serves: whether the owner is a service; if not, it is a command, which ends by itself.
    """

    def __init__(self, message: str, *, owner: str, serves: bool) -> None:
        """Describe the owner."""
        super().__init__(message)
        self.owner = owner
        self.serves = serves


def unusable(data_dir: Path, error: OSError | ValueError) -> EmbeddedError:
    """Say that the operating system refuses the directory, and with which words."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return EmbeddedError(f"redis.data_dir {data_dir} cannot be used: {why}")
