"""Bodies are read by the letter: Litestar's own reading would take "1" for 1, as it must in a query string."""

from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.exceptions import ValidationException

from gateway.store.accounts import Caller


class StrictRequest(Request[Caller, str, State]):
    """Decodes a JSON body as the type that the handler names."""

    async def json(self) -> Any:
        """The handler's type; ValidationException tells the first field that is wrong."""
        field = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=field.annotation if field else Any)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValidationException(detail=str(error)) from error
