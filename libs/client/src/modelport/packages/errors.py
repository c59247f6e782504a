"""What is wrong with a package."""

from modelport.errors import ClientError


class PackageError(ClientError):
    """A package is not what it has to be; the sentence says where."""


class IncomparableError(ClientError):
    """One of two exports cannot be read, so that nothing can be said of their difference."""
