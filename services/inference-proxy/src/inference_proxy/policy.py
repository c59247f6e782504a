"""RateLimit and RateLimit-Policy header fields, draft-ietf-httpapi-ratelimit-headers-11 (two structured fields)."""

from collections.abc import Sequence

from msgspec import Struct


class Allowance(Struct, frozen=True, kw_only=True):
    """One limit as a client sees it: `remaining` of `limit` requests until the window ends in `reset_s` seconds."""

    name: str
    limit: int
    window_s: int
    remaining: int
    reset_s: int


def headers(allowances: Sequence[Allowance]) -> dict[str, str]:
    """Both fields for an answer, one item per limit."""
    return {
        "RateLimit-Policy": ", ".join(f'"{a.name}";q={a.limit};w={a.window_s}' for a in allowances),
        "RateLimit": ", ".join(f'"{a.name}";r={max(a.remaining, 0)};t={a.reset_s}' for a in allowances),
    }


def refused(allowance: Allowance) -> dict[str, str]:
    """The fields of a 429: the limit that was met, and when to come back."""
    return headers([allowance]) | {"Retry-After": str(allowance.reset_s)}
