"""What each user tier may do."""

from msgspec import Struct

from contracts.vocabulary import Tier


class TierLimits(Struct, frozen=True, kw_only=True):
    """None means unlimited; `served_instances` counts the model instances of all active endpoints: each is a process.

    `packages` counts edge and container packages that are not deleted: each is a copy of its model. As many of
    them are built at a time as exports run.

    `rate_limit_per_minute` is of inference, exact for all proxies together; `gateway_requests_per_minute` and `event_streams` are
    of each process of the gateway.
    """

    requests_per_month: int | None
    rate_limit_per_minute: int
    gateway_requests_per_minute: int
    event_streams: int
    concurrent_exports: int
    exports_per_month: int | None
    served_instances: int
    packages: int
    checkpoint_max_bytes: int
    gpu_access: bool


GIB = 1 << 30

TIERS: dict[Tier, TierLimits] = {
    Tier.FREE: TierLimits(
        requests_per_month=1_000,
        rate_limit_per_minute=10,
        gateway_requests_per_minute=600,
        event_streams=10,
        concurrent_exports=2,
        exports_per_month=50,
        served_instances=2,
        packages=20,
        checkpoint_max_bytes=1 * GIB,
        gpu_access=False,
    ),
    Tier.PRO: TierLimits(
        requests_per_month=100_000,
        rate_limit_per_minute=100,
        gateway_requests_per_minute=3_000,
        event_streams=50,
        concurrent_exports=10,
        exports_per_month=1_000,
        served_instances=20,
        packages=500,
        checkpoint_max_bytes=4 * GIB,
        gpu_access=True,
    ),
    Tier.ENTERPRISE: TierLimits(
        requests_per_month=None,
        rate_limit_per_minute=1_000,
        gateway_requests_per_minute=30_000,
        event_streams=200,
        concurrent_exports=100,
        exports_per_month=None,
        served_instances=200,
        packages=10_000,
        checkpoint_max_bytes=16 * GIB,
        gpu_access=True,
    ),
}
