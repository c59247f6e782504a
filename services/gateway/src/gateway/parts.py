"""What the gateway's handlers work with: made once by app.py and handed to each of them."""

from msgspec import Struct, field

from gateway.limits import Limits
from gateway.progress import Progress
from gateway.settings import Settings
from gateway.signing_keys import SigningKeys
from gateway.traces import Traces
from servicekit.bus import Bus
from servicekit.objects import ObjectStore
from servicekit.postgres import Pool
from servicekit.telemetry import Telemetry

SERVICE = "gateway"


class Parts(Struct, frozen=True, kw_only=True):
    """Settings and connections of one process."""

    settings: Settings
    telemetry: Telemetry
    pool: Pool
    bus: Bus
    objects: ObjectStore
    progress: Progress
    traces: Traces
    signing_keys: SigningKeys = SigningKeys()
    limits: Limits = field(default_factory=Limits)
