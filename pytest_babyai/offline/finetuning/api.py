"""OpenAI's endpoints for files, fine-tuning jobs and fine-tuned models."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.concurrency import run_in_threadpool
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pytest_babyai.offline.chat import ApiError, decode, unknown_model
from pytest_babyai.offline.finetuning.jobs import FINAL, SUCCEEDED, FileStore, JobRequest, JobStore
from pytest_babyai.offline.finetuning.metrics import checkpoints
from pytest_babyai.offline.finetuning.serve import FineTunedModels
from pytest_babyai.offline.finetuning.worker import Supervisor, trainer_command
from pytest_babyai.offline.server import model_object

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    Handler = Callable[[Request], Awaitable[Response]]

_Epochs = Literal["auto"] | Annotated[int, Meta(ge=1, le=50)] | None
_BatchSize = Literal["auto"] | Annotated[int, Meta(ge=1, le=256)] | None
_Multiplier = Literal["auto"] | Annotated[float, Meta(gt=0, le=100)] | None


class _Hyperparameters(msgspec.Struct, omit_defaults=True):
    n_epochs: _Epochs = None
    batch_size: _BatchSize = None
    learning_rate_multiplier: _Multiplier = None


class _Supervised(msgspec.Struct):
    hyperparameters: _Hyperparameters | None = None


class _Method(msgspec.Struct):
    type: Literal["supervised"] = "supervised"
    supervised: _Supervised | None = None


class _Body(msgspec.Struct):
    model: Annotated[str, Meta(min_length=1)]
    training_file: Annotated[str, Meta(min_length=1)]
    validation_file: str | None = None
    hyperparameters: _Hyperparameters | None = None
    method: _Method | None = None
    seed: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    suffix: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")] | None = None
    metadata: dict[str, str] | None = None


def parse_job_request(body: bytes) -> JobRequest:
    """Reads a request.

    Raises:
        ApiError: The body is no JSON object or a parameter is missing or wrong.
    """
    try:
        said = decode(body, _Body)
    except ApiError as error:
        if error.param == "method.type":
            raise ApiError(
                f"{error} Nothing but 'supervised' is offered here.", param=error.param
            ) from None
        raise
    older, method = said.hyperparameters or _Hyperparameters(), said.method or _Method()
    newer = (method.supervised and method.supervised.hyperparameters) or _Hyperparameters()
    chosen = {**msgspec.to_builtins(older), **msgspec.to_builtins(newer)}
    settled = {name: value for name, value in chosen.items() if value != "auto"}
    return JobRequest(
        model=said.model,
        training_file=said.training_file,
        validation_file=said.validation_file or None,
        num_epochs=settled.get("n_epochs"),
        batch_size=settled.get("batch_size"),
        learning_rate_multiplier=settled.get("learning_rate_multiplier"),
        seed=said.seed or 0,
        suffix=said.suffix or None,
        metadata=said.metadata or None,
    )


MAX_PAGE = 10_000
LIBRARIES = ("torch",)


class FineTuning:
    """The endpoints, over one directory.

    Args:
        models_dir: Where files, jobs and models are kept.
        base_models: Names of the models that may be named as the one to start from.
    """

    def __init__(self, models_dir: Path, base_models: Collection[str]) -> None:
        self.files = FileStore(models_dir / "files")
        self.jobs = JobStore(models_dir / "jobs")
        self.supervisor = Supervisor(
            self.jobs, lambda job_id: trainer_command(models_dir.resolve(), job_id)
        )
        self.models = FineTunedModels(models_dir)
        self._base_models = base_models

    def routes(self) -> list[Route]:
        """Returns the routes."""
        job = "/fine_tuning/jobs/{id}"
        paths: dict[str, dict[str, Handler]] = {
            "/files": {"GET": self._list_files, "POST": self._upload},
            "/files/{id}": {"GET": self._get_file, "DELETE": self._delete_file},
            "/files/{id}/content": {"GET": self._get_content},
            "/fine_tuning/jobs": {"GET": self._list_jobs, "POST": self._create_job},
            job: {"GET": self._get_job},
            f"{job}/cancel": {"POST": self._cancel_job},
            f"{job}/events": {"GET": self._list_events},
            f"{job}/checkpoints": {"GET": self._list_checkpoints},
            "/models/{id}": {"GET": self._get_model, "DELETE": self._delete_model},
        }
        return [Route(f"/v1{path}", _Methods(handlers)) for path, handlers in paths.items()]

    def close(self) -> None:
        """Stops the training under way and frees the loaded models."""
        self.supervisor.close()
        self.models.close()

    async def _upload(self, request: Request) -> Response:
        _require(("python_multipart",), "uploading a file")
        name, purpose, content = await _read_form(request)
        return JSONResponse(await run_in_threadpool(self.files.add, name, purpose, content))

    async def _list_files(self, request: Request) -> Response:
        purpose = request.query_params.get("purpose")
        found = [item for item in self.files.all() if purpose in (None, item["purpose"])]
        if request.query_params.get("order") == "asc":
            found.reverse()
        return _page(request, found, MAX_PAGE)

    async def _get_file(self, request: Request) -> Response:
        return JSONResponse(self.files.get(request.path_params["id"]))

    async def _delete_file(self, request: Request) -> Response:
        file_id = request.path_params["id"]
        self.files.delete(file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    async def _get_content(self, request: Request) -> Response:
        content = await run_in_threadpool(self.files.content, request.path_params["id"])
        return Response(content, media_type="application/octet-stream")

    async def _create_job(self, request: Request) -> Response:
        wanted = parse_job_request(await request.body())
        if wanted.model not in self._base_models:
            raise unknown_model(wanted.model, self._base_models)
        for param in ("training_file", "validation_file"):
            file_id = getattr(wanted, param)
            if file_id is not None:
                self.files.get(file_id, param=param)
        _require(LIBRARIES, "fine-tuning")
        job = self.jobs.create(wanted)
        self.supervisor.submit(job["id"])
        return JSONResponse(job)

    async def _list_jobs(self, request: Request) -> Response:
        return _page(request, self.jobs.all(), 20)

    async def _get_job(self, request: Request) -> Response:
        return JSONResponse(self._current(request))

    def _current(self, request: Request) -> dict[str, Any]:
        job_id = request.path_params["id"]
        self.supervisor.take_up(self.jobs.get(job_id))
        return self.jobs.get(job_id)

    async def _cancel_job(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["id"])
        if job["status"] in FINAL:
            message = f"Job has already completed: {job['id']} has the status {job['status']}"
            raise ApiError(message, param="fine_tuning_job_id")
        await run_in_threadpool(self.supervisor.cancel, job["id"])
        return JSONResponse(self.jobs.get(job["id"]))

    async def _list_events(self, request: Request) -> Response:
        job = self._current(request)
        return _page(request, self.jobs.events(job["id"]), 20)

    async def _list_checkpoints(self, request: Request) -> Response:
        job = self._current(request)
        found = checkpoints(job, self.jobs) if job["status"] == SUCCEEDED else []
        return _page(request, found, 10)

    async def _get_model(self, request: Request) -> Response:
        name = request.path_params["id"]
        created_s = {model.name: model.created_s for model in self.models.all()}
        known = dict.fromkeys(self._base_models, 0) | created_s
        if name not in known:
            raise unknown_model(name, known)
        return JSONResponse(model_object(name, known[name]))

    async def _delete_model(self, request: Request) -> Response:
        name = request.path_params["id"]
        if name in self._base_models:
            raise ApiError(f"The model {name!r} cannot be deleted.", 403, "model")
        if not await run_in_threadpool(self.models.delete, name):
            raise unknown_model(name, self.models.names())
        return JSONResponse({"id": name, "object": "model", "deleted": True})


class _Methods:
    """One path: a handler for each method."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(scope["method"])
        if handler is None:
            known = " or ".join(self._handlers)
            message = f"{scope['path']} takes {known}, not {scope['method']}."
            raise ApiError(message, status=405)
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)


async def _read_form(request: Request) -> tuple[str, str, bytes]:
    """Returns the name of the uploaded file, its purpose and its content."""
    content_type = request.headers.get("content-type", "")
    if not (content_type.startswith("multipart/form-data") and "boundary=" in content_type):
        raise ApiError("The body has to be multipart/form-data.", param="file")
    try:
        async with request.form(max_files=1, max_fields=8) as form:
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(purpose, str):
                raise ApiError("You must provide a purpose parameter.", param="purpose")
            if file is None or isinstance(file, str):
                raise ApiError("You must provide a file.", param="file")
            return file.filename or "data.jsonl", purpose, await file.read()
    except MultiPartException as error:
        raise ApiError(f"The body is no valid form: {error.message}", param="file") from None


def _require(libraries: tuple[str, ...], purpose: str) -> None:
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        message = (
            f"{purpose} with the offline model needs {', '.join(missing)}: "
            "pip install 'pytest-babyai[finetune]'"
        )
        raise ApiError(message[0].upper() + message[1:], code="missing_extra")


def _page(request: Request, items: list[dict[str, Any]], default: int) -> Response:
    """Returns a part of a list: ``limit`` items that follow the item named by ``after``."""
    limit = request.query_params.get("limit", str(default))
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_PAGE:
        message = f"limit has to be a whole number from 1 to {MAX_PAGE}, not {limit!r}."
        raise ApiError(message, param="limit")
    after = request.query_params.get("after")
    if after is not None:
        ids = [item["id"] for item in items]
        items = items[ids.index(after) + 1 :] if after in ids else []
    shown = items[: int(limit)]
    return JSONResponse(
        {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": len(items) > len(shown),
        }
    )
