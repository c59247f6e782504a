"""What the gateway reads from its environment; every name carries the prefix MODELPORT_."""

from typing import Annotated

from msgspec import Meta

from servicekit.settings import S3Settings

Seconds = Annotated[float, Meta(gt=0)]


class Settings(S3Settings, frozen=True, kw_only=True):
    """`port` has no default; times are in seconds."""

    nats_url: str
    postgres_dsn: str
    port: Annotated[int, Meta(ge=1, le=65535)]
    host: str = "127.0.0.1"
    key_pepper: Annotated[str, Meta(min_length=16)]
    """Keys the digests of tokens and API keys; proxies need the same."""
    bootstrap_token: str = ""
    """An enterprise administrator with this token exists after the start."""
    proxy_public_url: str = "http://127.0.0.1:8081"
    traces_url: str = ""
    """Jaeger-style query API; empty: traces cannot be shown."""

    signing_public_keys_file: str = ""
    """PEM file with the public keys that packages are signed with, the current one first; empty: they are not signed."""
    download_ttl_s: Seconds = 900
    upload_ttl_s: Seconds = 3_600
    idempotency_ttl_s: Seconds = 86_400
    progress_ttl_s: Seconds = 2_592_000
    """How long the progress of a job can be replayed; its beginning and end are kept."""

    export_timeout_s: Annotated[int, Meta(ge=1)] = 1_800
    """Longest run of one attempt."""
    attempt_grace_s: Seconds = 300
    """Added to the run's limit before the gateway gives an attempt up: fetching, packaging, queueing."""
    silence_limit_s: Seconds = 1_200
    """A running job without any fact for so long is given up."""
    pending_limit_s: Seconds = 86_400
    """A job that no worker has taken for so long is given up."""
    preflight_wait_s: Seconds = 10
    """How long a request for a preflight is held before its asker is told to come back."""
    preflight_limit_s: Seconds = 600
    """A preflight that no worker has answered for so long is given up."""
    preflight_keep_s: Seconds = 604_800
    """What a preflight foresaw is shown for so long."""
    sweep_interval_s: Seconds = 3_600
    """How often what nobody owns is looked for."""
    sweep_grace_s: Seconds = 86_400
    """What nobody owns is removed once it is so old: longer than any attempt, packaging or upload takes."""
    upload_keep_s: Seconds = 604_800
    """An upload that no training was registered from may be used for so long."""
    lease_keep_s: Seconds = 1_296_000
    """The lease of an ended job is removed after so long: longer than the bus keeps the job's messages."""
    deploy_limit_s: Seconds = 1_800
    """A deployment that nobody has answered for so long is shown as failed; the wish stands."""
    exports_ahead: Annotated[int, Meta(ge=1, le=10_000)] = 16
    """Requests of one format that are on the bus at a time; the other jobs wait for their turn."""
    republish_after_s: Seconds = 60
    """A request without an answer is published again after so long, then after twice as long, and so on."""
    reconcile_interval_s: Seconds = 5
    keepalive_s: Seconds = 15
    """Longest silence on a stream of job events."""
