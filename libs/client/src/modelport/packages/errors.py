"""What is wrong with a package."""

from modelport.errors import ClientError


class PackageError(ClientError):
    """A package is not what it has to be; the sentence says where."""
