"""Errors that belong to no one rule."""

from mesh.errors import Code, ServiceError


class WalletNotFound(ServiceError):
    """There is no such wallet."""

    code = Code.NOT_FOUND
