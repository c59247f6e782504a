"""Bodies are read by the letter: Litestar's own reading would take "1" for 1, as it must in a query string."""

from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.exceptions import ValidationException

from contracts.errors import Permanent
from contracts.mistakes import explain
from gateway.store.accounts import Caller


class StrictRequest(Request[Caller, str, State]):
    """Decodes a JSON body as the type that the handler names."""

    async def json(self) -> Any:
        """The handler's type; Permanent("invalid_request") tells the first field that is wrong and what works there."""
        field = self.route_handler.parsed_data_field
        kind = field.annotation if field else Any
        try:
            return msgspec.json.decode(await self.body(), type=kind)
        except msgspec.ValidationError as error:
            wrong = explain(error, kind)
            if not wrong.field:
                raise ValidationException(detail=wrong.message) from error
            raise Permanent("invalid_request", f"{wrong.field}: {wrong.message}", fields=(wrong,)) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValidationException(detail=str(error)) from error
