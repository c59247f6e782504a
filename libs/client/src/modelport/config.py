"""Where the command finds its servers: options, then the environment, then the stack's own file."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from modelport.errors import ClientError

DEFAULT_HOME = ".modelport"
STACK_FILE = "stack.json"


class ConfigError(ClientError):
    """Something that the command needs was not given."""


class Stack(Struct, frozen=True, kw_only=True):
    """What the command uses of `$MODELPORT_HOME/stack.json`, written by `make up`."""

    gateway_url: str = ""
    proxy_url: str = ""
    token: str = ""


class Config(Struct, frozen=True, kw_only=True):
    url: str = ""
    token: str = ""
    proxy_url: str = ""
    api_key: str = ""

    def require(self, name: str) -> str:
        """The value of one field; raises ConfigError that says where it can be given."""
        value: str = getattr(self, name)
        if value:
            return value
        option, variable = WHERE[name]
        raise ConfigError(
            f"No {name.replace('_', ' ')} is given.",
            f"Use {option} or set {variable}; `make up` writes both addresses and a token to {DEFAULT_HOME}/{STACK_FILE}.",
        )


WHERE = {
    "url": ("--url", "MODELPORT_URL"),
    "token": ("--token", "MODELPORT_TOKEN"),
    "proxy_url": ("--proxy-url", "MODELPORT_PROXY_URL"),
    "api_key": ("--key", "MODELPORT_API_KEY"),
}


def load(options: Mapping[str, str | None], environ: Mapping[str, str]) -> Config:
    """The configuration; the stack's token is used with the stack's own gateway alone, never sent to another address."""
    stack = _stack(Path(environ.get("MODELPORT_HOME") or DEFAULT_HOME) / STACK_FILE)
    given = {name: options.get(name) or environ.get(variable, "") for name, (_, variable) in WHERE.items()}
    url = given["url"] or stack.gateway_url
    token = given["token"] or (stack.token if url.rstrip("/") == stack.gateway_url.rstrip("/") else "")
    return Config(url=url, token=token, proxy_url=given["proxy_url"] or stack.proxy_url, api_key=given["api_key"])


def _stack(path: Path) -> Stack:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Stack)
    except FileNotFoundError:
        return Stack()
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "Start the stack again, or remove the file.") from error
