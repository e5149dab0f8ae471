"""Uploaded files, kept in a directory."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from pytest_babyai.offline.chat import ApiError
from pytest_babyai.offline.finetuning.storage import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from pathlib import Path

PURPOSE = "fine-tune"
MAX_FILE_BYTES = 512 * 2**20

_ID = re.compile(r"file-[0-9a-f]{24}")


class FileStore:
    """Files by their ids: the content as it came, next to OpenAI's file object."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, filename: str, purpose: str, content: bytes) -> dict[str, Any]:
        """Keeps a file.

        Returns:
            Its file object.

        Raises:
            ApiError: The purpose is another than fine-tuning, the file is empty or too large, or
                cannot be written (507).
        """
        if purpose != PURPOSE:
            message = f"{purpose!r} is not one of [{PURPOSE!r}] - 'purpose'"
            raise ApiError(message, param="purpose")
        if not content:
            raise ApiError(f"File {filename!r} is empty.", param="file")
        if len(content) > MAX_FILE_BYTES:
            message = f"File {filename!r} is larger than {MAX_FILE_BYTES} bytes."
            raise ApiError(message, status=413, param="file")
        described = _file_object(filename, len(content))
        try:
            write_bytes(self.path(described["id"]), content)
            write_json(self._description(described["id"]), described)
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"File {filename!r} cannot be kept in {self._directory}: {reason}"
            raise ApiError(message, status=507) from error
        return described

    def get(self, file_id: str, *, param: str | None = "id") -> dict[str, Any]:
        """Returns a file's object.

        Raises:
            ApiError: There is no such file (404).
        """
        described = read_json(self._description(file_id)) if _ID.fullmatch(file_id) else None
        if described is None:
            raise ApiError(f"No such File object: {file_id}", status=404, param=param)
        file_object: dict[str, Any] = described
        return file_object

    def all(self) -> list[dict[str, Any]]:
        """Returns every file's object, the newest first."""
        found = [read_json(path) for path in self._directory.glob("file-*.json")]
        described = [item for item in found if item is not None]
        return sorted(described, key=lambda item: (item["created_at"], item["id"]), reverse=True)

    def content(self, file_id: str) -> bytes:
        """Returns a file's content.

        Raises:
            ApiError: There is no such file (404).
        """
        self.get(file_id)
        return self.path(file_id).read_bytes()

    def delete(self, file_id: str) -> None:
        """Deletes a file.

        Raises:
            ApiError: There is no such file (404).
        """
        self.get(file_id)
        self._description(file_id).unlink(missing_ok=True)
        self.path(file_id).unlink(missing_ok=True)

    def path(self, file_id: str) -> Path:
        """Returns where a file's content is."""
        return self._directory / f"{file_id}.jsonl"

    def _description(self, file_id: str) -> Path:
        return self._directory / f"{file_id}.json"


def _file_object(filename: str, num_bytes: int) -> dict[str, Any]:
    return {
        "id": f"file-{uuid.uuid4().hex[:24]}",
        "object": "file",
        "bytes": num_bytes,
        "created_at": int(time.time()),
        "expires_at": None,
        "filename": filename,
        "purpose": PURPOSE,
        "status": "processed",
        "status_details": None,
    }
