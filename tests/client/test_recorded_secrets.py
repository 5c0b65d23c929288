"""Nothing that was recorded can be used by anybody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.recordings import CASSETTES

SECRETS = re.compile(
    r"""Bearer\ (?!REDACTED|garbage|\$PROMINENCE_TOKEN)\S
      | eyJ[\w-]{10,}\.
      | (?:Signature|AWSAccessKeyId|X-Amz-Signature)=(?!REDACTED)
      | "(?:AWSAccessKeyId|signature|policy|token|access_token)"\s*:\s*"(?!REDACTED)""",
    re.VERBOSE,
)


@pytest.mark.parametrize("text", ["Bearer eyJhbGciOi", "?Signature=abc", '"signature": "abc"'])
def test_the_search_for_secrets_finds_some(text: str) -> None:
    assert SECRETS.search(text)


def test_recordings_hold_no_secrets() -> None:
    recordings = [*CASSETTES.rglob("*.yaml"), *Path(__file__).parent.glob("recorded_*.json")]
    assert len(recordings) > 20
    found = {path.name: SECRETS.findall(path.read_text(encoding="utf-8")) for path in recordings}
    assert {name: secrets for name, secrets in found.items() if secrets} == {}
