"""One process of the wrapper that answers many questions."""

import json
import subprocess
from typing import Any


class Refused(Exception):
    """The wrapper's error."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told["message"])
        self.code, self.field = told["code"], told.get("field")


class Probe:
    """A running probe, such as Probe.kt."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def ask(self, do: str, **asked: Any) -> Any:
        """The answer; raises Refused for an error of the wrapper's."""
        self._process.stdin.write(json.dumps({"do": do, **asked}, default=str) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the probe ended with {self._process.wait(60)} when it was asked to {do} {str(asked)[:500]}"
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["answer"]

    def close(self) -> int:
        """Its exit code."""
        self._process.stdin.close()
        code = self._process.wait(60)
        self._process.stdout.close()
        return code
