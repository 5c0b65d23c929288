"""A real OpenID Connect provider (nanoidp) on this machine, in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest
import requests
from support.until import until

PROGRAM = Path(__file__).parent.parent.parent / ".venv-nanoidp" / "bin" / "nanoidp"
USER, PASSWORD = "ada", "countess"


class IdentityProvider:
    """Ada has an account there, and clients may register themselves."""

    def __init__(self, directory: Path, *, code_valid_s: int = 600) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        settings = {
            "config_version": 1,
            "server": {"host": "127.0.0.1", "port": port},
            "oauth": {
                "issuer": self.url,
                "dynamic_registration": {"enabled": True},
                "refresh_token_rotation": True,
            },
            "device_flow": {"code_expiry_seconds": code_valid_s, "polling_interval": 1},
            "jwt": {"keys_dir": str(directory / "keys")},
        }
        users = {"config_version": 1, "users": {USER: {"password": PASSWORD, "email": "ada@example.org"}}}
        for name, content in (("settings", settings), ("users", users)):
            (directory / f"{name}.yaml").write_text(json.dumps(content))  # JSON is YAML

    def __enter__(self) -> Self:
        if not PROGRAM.exists():
            pytest.skip("nanoidp is not installed in .venv-nanoidp: `make test` does that")
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(PROGRAM), "--config", str(self._directory), "--strict-config"],
                env={"PATH": os.environ["PATH"], "HOME": str(self._directory)},
                cwd=self._directory,
                stdout=log,
                stderr=log,
            )
        try:
            until(self._answers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def approve(self, shown: str) -> None:
        """Do what a user does in a browser who reads this text."""
        self._decide(shown, username=USER, password=PASSWORD, action="authorize")

    def deny(self, shown: str) -> None:
        self._decide(shown, action="deny")

    def user_of(self, token: str) -> dict[str, Any]:
        """Whose token it is, as the provider says."""
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.get(f"{self.url}/userinfo", headers=headers, timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _decide(self, shown: str, **form: str) -> None:
        address = re.search(r"open (\S+) in a browser", shown)
        code = re.search(r"the code (\S+)", shown)
        assert address, shown
        assert code, shown
        requests.post(address[1], data={"user_code": code[1], **form}, timeout=30).raise_for_status()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "log").read_text()
        try:
            return requests.get(f"{self.url}/.well-known/openid-configuration", timeout=30).ok
        except requests.ConnectionError:
            return False
