"""Server-sent events: parsing (WHATWG HTML, 9.2.6) and a follower that resumes with Last-Event-ID."""

import time
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from modelport.errors import ApiError, UnreachableError
from modelport.transport import Transport


class ServerEvent(Struct, frozen=True, kw_only=True):
    """One event of a stream; `data` is its text, JSON on this platform."""

    id: str = ""
    event: str = "message"
    data: str = ""


def parse(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """Events of a stream of lines; comments and heartbeats vanish, an unfinished event at the end is dropped."""
    identity, name, data = "", "message", list[str]()
    for line in lines:
        if not line:
            if data:
                yield ServerEvent(id=identity, event=name, data="\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id":
            identity = value


def follow(
    transport: Transport,
    path: str,
    is_last: Callable[[ServerEvent], bool],
    *,
    last_event_id: str = "",
    reconnects: int = 20,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[ServerEvent]:
    """Events of a resource until `is_last`, across broken connections; each event once.

    Raises UnreachableError after `reconnects` fruitless tries in a row, ApiError where the server refuses for good.
    """
    fruitless = 0
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        try:
            with transport.stream(path, headers) as response:
                for event in parse(response.iter_lines()):
                    fruitless, last_event_id = 0, event.id or last_event_id
                    yield event
                    if is_last(event):
                        return
            failure: Exception = UnreachableError(f"{transport.base_url} keeps ending the event stream of {path}.")
        except UnreachableError as error:
            failure = error
        except ApiError as error:
            if error.status not in (429, 502, 503, 504):
                raise
            failure = error
        fruitless += 1
        if fruitless > reconnects:
            raise failure
        sleep(min(0.2 * fruitless, 3.0))
