"""What a real service said of jobs and workflows, from their submission to their end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_FILE: Final = Path(__file__).parents[1] / "client" / "recorded_statuses.json"
STATUSES: Final[dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
ENDS: Final[dict[str, dict[str, Any]]] = {name: course[-1]["entry"] for name, course in STATUSES.items()}
