"""What stands where a user has said nothing, for options and commands alike."""

from __future__ import annotations

from typing import Final

TEACHER: Final = "history_and_reasoning"
"""The variant whose experience is collected and learned from."""

STORE_DIRECTORY: Final = ".babyai/store"
"""Where the embedded store lies, relative to pytest's root directory."""

CLICKHOUSE_VARIABLE: Final = "TENSORZERO_CLICKHOUSE_URL"
"""Environment variable that names the database; TensorZero's own."""
