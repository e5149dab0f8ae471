from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.offline.finetuning import jobs as files_module
from tests.unit.offline.finetuning_samples import Client, error_of

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b'{"messages": []}\n'
FILES = "/v1/files"


def upload(client: Client, path: str = FILES, **data: Any) -> Any:
    fields = {"purpose": "fine-tune", **data}
    return client.request("POST", path, data=fields, files={"file": ("a.jsonl", CONTENT)})


@pytest.mark.parametrize("prefix", ["/v1"])
def test_a_file_object_has_the_shape_of_openai(offline: Client, prefix: str) -> None:
    described = upload(offline, f"{prefix}/files").json()
    assert described.pop("created_at") > 1_700_000_000
    assert described.pop("id").startswith("file-")
    assert described == {
        "object": "file",
        "bytes": len(CONTENT),
        "expires_at": None,
        "filename": "a.jsonl",
        "purpose": "fine-tune",
        "status": "processed",
        "status_details": None,
    }


def test_a_file_is_found_by_its_id(offline: Client) -> None:
    described = upload(offline).json()
    assert offline.get(f"{FILES}/{described['id']}") == described


def test_a_files_content_comes_back(offline: Client) -> None:
    response = offline.request("GET", f"{FILES}/{offline.upload(CONTENT)}/content")
    assert response.content == CONTENT


def test_files_outlive_the_server(offline: Client, tmp_path: Path) -> None:
    file_id = offline.upload(CONTENT)
    later = Client(tmp_path / "models")
    assert later.get(f"{FILES}/{file_id}")["bytes"] == len(CONTENT)


def test_files_are_listed_by_pages(offline: Client) -> None:
    uploaded = {offline.upload(CONTENT) for _ in range(3)}
    first = offline.get(FILES, limit=2)
    rest = offline.get(FILES, limit=2, after=first["last_id"])
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert {item["id"] for item in first["data"] + rest["data"]} == uploaded


def test_files_of_another_purpose_are_none(offline: Client) -> None:
    offline.upload(CONTENT)
    assert offline.get(FILES, purpose="assistants")["data"] == []


def test_a_deleted_file_is_gone(offline: Client) -> None:
    file_id = offline.upload(CONTENT)
    response = offline.request("DELETE", f"{FILES}/{file_id}")
    assert response.json() == {"id": file_id, "object": "file", "deleted": True}
    error = error_of(offline.request("GET", f"{FILES}/{file_id}"), 404)
    assert error["message"] == f"No such File object: {file_id}"


@pytest.mark.parametrize("file_id", ["file-1", "..%2F..%2Fsecret", "file-" + "g" * 24])
def test_what_is_no_id_of_a_file_is_not_found(offline: Client, file_id: str) -> None:
    assert offline.request("GET", f"{FILES}/{file_id}").status_code == 404


def test_another_purpose_is_refused(offline: Client) -> None:
    assert error_of(upload(offline, purpose="assistants"), 400)["param"] == "purpose"


def test_a_missing_purpose_is_named(offline: Client) -> None:
    response = offline.request("POST", FILES, files={"file": ("a.jsonl", CONTENT)})
    assert error_of(response, 400)["param"] == "purpose"


def test_a_missing_file_is_named(offline: Client) -> None:
    response = offline.request("POST", FILES, data={"purpose": "fine-tune"}, files={"x": b"y"})
    assert error_of(response, 400)["param"] == "file"


def test_an_empty_file_is_refused(offline: Client) -> None:
    response = offline.request(
        "POST", FILES, data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", b"")}
    )
    assert error_of(response, 400)["message"] == "File 'a.jsonl' is empty."


def test_a_body_that_is_no_form_is_refused(offline: Client) -> None:
    response = offline.request("POST", FILES, json={"purpose": "fine-tune"})
    assert "multipart/form-data" in error_of(response, 400)["message"]


def test_a_broken_form_is_refused(offline: Client) -> None:
    response = offline.request(
        "POST",
        FILES,
        content=b"no parts at all",
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert error_of(response, 400)["type"] == "invalid_request_error"


def test_a_wrong_method_is_told(offline: Client) -> None:
    response = offline.request("PUT", FILES)
    assert error_of(response, 405)["message"] == "/v1/files takes GET or POST, not PUT."


@pytest.mark.parametrize("limit", ["0", "many", "-1", "100000"])
def test_a_limit_that_is_none_is_named(offline: Client, limit: str) -> None:
    assert error_of(offline.request("GET", FILES, params={"limit": limit}), 400)["param"] == "limit"


def test_on_a_full_disk_nothing_is_kept(
    offline: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path), len(content))

    monkeypatch.setattr(files_module, "write_bytes", refuse)
    message = error_of(upload(offline), 507)["message"]
    assert message == (
        f"File 'a.jsonl' cannot be kept in {tmp_path / 'models' / 'files'}: No space left on device"
    )
    assert offline.get(FILES)["data"] == []
