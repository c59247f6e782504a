"""Generated requests, right and wrong, against the running faces: no server error, no answer that the documents do not tell."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

pytestmark = [pytest.mark.integration, pytest.mark.attack, pytest.mark.timeout(1200)]

DOCS = Path(__file__).parents[2] / "docs"
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def operations(document: str) -> Iterator[Any]:
    schema = schemathesis.openapi.from_path(DOCS / document)
    return (found.ok() for found in schema.get_all_operations())


class Sender:
    """Sends each generated case and keeps what was wrong with its answer."""

    def __init__(self, url: str, authorization: str, examples: int, ids: dict[str, str]) -> None:
        self._url = url
        self._headers = {"Authorization": authorization}
        self._settings = settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        self._ids = ids
        self.sent = 0
        self.faults: list[str] = []
        self.seen: dict[str, set[int]] = {}

    def try_out(self, operation: Any) -> None:
        """Half of the cases name things that exist."""
        fixed = {name: self._ids[name] for name in re.findall(r"\{(\w+)\}", operation.path)}
        for mode in MODES:
            generated = [operation.as_strategy(generation_mode=mode)]
            if fixed:
                generated.append(operation.as_strategy(generation_mode=mode, path_parameters=fixed))
            self._settings(given(st.one_of(generated))(self._send))()

    def _send(self, case: Any) -> None:
        self.sent += 1
        answer = case.call(base_url=self._url, headers=self._headers, timeout=60)
        self.seen.setdefault(case.operation.label, set()).add(answer.status_code)
        try:
            case.validate_response(answer, checks=CHECKS, headers=self._headers)
        except Exception as error:
            self.faults.append(
                f"{case.operation.label}: {answer.status_code} {answer.text[:500]}\n{error}\n{case.as_curl_command()}"
            )


def test_the_gateway_answers_as_its_document_says(
    stack, admin, owner, detector_export, detector_training, trials, figure
) -> None:
    """With an administrator's token of a user who owns things, against those things and against others."""
    token = admin.users.create_token(owner.id, ["read", "write", "admin"])
    spare = admin.users.create("fuzzed", "free")
    deployment = owner.client.deployments.create(detector_export.id, "download", "fuzzed")
    ids = {
        "training_job_id": str(detector_training.id),
        "job_id": str(detector_export.id),
        "deployment_id": str(deployment.id),
        "preflight_id": str(owner.client.exports.preflight(detector_training.id).preflight_id),
        "user_id": str(spare.id),
        "token_id": str(next(admin.users.tokens(spare.id)).id),
        "sequence": "1",
    }
    sender = Sender(stack.about.gateway_url, f"Bearer {token.token}", trials(8, 200), ids)
    for operation in operations("openapi.json"):
        sender.try_out(operation)
    what = "answers of the gateway that are server errors or not in its document"
    figure(what, trials=sender.sent, measured=len(sender.faults), promised=0)
    assert not sender.faults, "\n\n".join(sender.faults[:5])
    served = [operation for operation, seen in sender.seen.items() if min(seen) < 300]
    assert len(served) >= 20, f"too few operations were ever served: {sender.seen}"
