"""How large an upload may be."""

from __future__ import annotations

from decimal import Decimal

from proxy.errors import FileTooLarge
from proxy.matching.bound import BoundDeployment

MEGABYTE = 1_048_576


def file_limit(bound: BoundDeployment) -> float | None:
    """MB: the deployment's own limit, else the vendor's."""
    own = bound.deployment.max_file_size_mb
    return own if own is not None else bound.adapter.capabilities.max_file_mb


def file_too_large(limit: float, *, size: int | None) -> FileTooLarge:
    """``limit`` in MB; ``size`` in bytes, None if it is not known: the upload was not read to its end."""
    passed = f"{size / MEGABYTE} MB" if size is not None else f"more than {_plain(limit)} MB"
    return FileTooLarge(
        "File size is too large. Please check your file size. "
        f"Passed file size: {passed}. Max file size: {_plain(limit)} MB"
    )


def _plain(number: float) -> str:
    return format(Decimal(repr(number)).normalize(), "f")
