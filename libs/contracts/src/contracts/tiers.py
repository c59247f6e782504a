"""What each user tier may do."""

from msgspec import Struct

from contracts.vocabulary import Tier


class TierLimits(Struct, frozen=True, kw_only=True):
    """None means unlimited."""

    requests_per_month: int | None
    rate_limit_per_minute: int
    concurrent_exports: int
    exports_per_month: int | None
    checkpoint_max_bytes: int
    gpu_access: bool


GIB = 1 << 30

TIERS: dict[Tier, TierLimits] = {
    Tier.FREE: TierLimits(
        requests_per_month=1_000,
        rate_limit_per_minute=10,
        concurrent_exports=2,
        exports_per_month=50,
        checkpoint_max_bytes=1 * GIB,
        gpu_access=False,
    ),
    Tier.PRO: TierLimits(
        requests_per_month=100_000,
        rate_limit_per_minute=100,
        concurrent_exports=10,
        exports_per_month=1_000,
        checkpoint_max_bytes=4 * GIB,
        gpu_access=True,
    ),
    Tier.ENTERPRISE: TierLimits(
        requests_per_month=None,
        rate_limit_per_minute=1_000,
        concurrent_exports=100,
        exports_per_month=None,
        checkpoint_max_bytes=16 * GIB,
        gpu_access=True,
    ),
}
