"""The file in which a step leaves what it foresaw; written inside the sandbox, read outside."""

from msgspec import Struct

from contracts.preflight import Forecast
from contracts.vocabulary import ExportFormat

FILE = "forecasts.json"


class Foreseen(Struct, frozen=True, kw_only=True):
    """What the file holds: a forecast for each wish looked at so far, in their order, and the format that is being looked at."""

    forecasts: tuple[Forecast, ...]
    looks_at: ExportFormat | None = None
