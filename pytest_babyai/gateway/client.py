"""The TensorZero client, embedded or over HTTP."""

from __future__ import annotations

import asyncio
import gc
import glob
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import (
    ConfigurationError,
    GatewayError,
    RequestTimeoutError,
)
from pytest_babyai.gateway.arguments import ActFunction
from pytest_babyai.gateway.backlog import WriteBacklog
from pytest_babyai.gateway.daemon_calls import call_on_daemon
from pytest_babyai.gateway.failures import Scrubber, build_failure, inference_failure
from pytest_babyai.gateway.health import check_gateway
from pytest_babyai.gateway.inference import NO_CACHE, CacheOptions
from pytest_babyai.gateway.observability import build_with_store, with_observability
from pytest_babyai.gateway.store_failures import (
    check_clickhouse_url,
    is_store_failure,
    store_build_failure,
    store_failure,
    url_secrets,
)
from pytest_babyai.gateway.store_queries import ClickHouseStore
from pytest_babyai.gateway.time_limit import TimeLimit
from pytest_babyai.gateway.wire import inference_arguments, inference_of
from pytest_babyai.retries import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.gateway.inference import Inference, InferenceRequest

CLOSE_TIMEOUT_S: Final = 30.0

_RENEW: Final = {"on": CacheOptions("write_only"), "read_only": NO_CACHE}
"""How a cached answer that did not parse is asked again, by mode of the cache."""

_DRAIN_S = 0.1
"""TensorZero's threads outlive its client; a process that ends before them may crash."""


class Gateway:
    """An open gateway; made by `open_gateway`."""

    def __init__(  # noqa: PLR0913 - called by `open_gateway` alone
        self,
        client: Any,
        *,
        variants: tuple[str, ...],
        timeout_s: float,
        function: ActFunction | None = None,
        scrub: Scrubber | None = None,
        cache: CacheOptions = NO_CACHE,
        backlog: WriteBacklog | None = None,
    ) -> None:
        self._client = client
        self._variants = variants
        self._function = function or ActFunction()
        self._time_limit = TimeLimit(timeout_s)
        self._scrub = scrub or Scrubber()
        self._cache = cache
        self._backlog = backlog
        self._failure_type: type[Exception] = import_tensorzero().BaseTensorZeroError

    async def infer(self, request: InferenceRequest) -> Inference:
        """Asks the model for an action.

        Cancelling the call closes the connection to the provider.

        Raises:
            InfrastructureError: No answer came; its type and attributes say why, and whether
                asking again may help.
            ConfigurationError: The gateway does not know the variant or refuses the arguments.
            CredentialsError: The gateway has no credentials for the model or refuses ours.
        """
        inference = await self._infer(request, self._cache)
        if inference.cached and inference.action is None:
            # Kept, it would fail the same step of every run; the new answer takes its place.
            return await self._infer(request, _RENEW[self._cache.mode])
        return inference

    async def _infer(self, request: InferenceRequest, cache: CacheOptions) -> Inference:
        arguments = inference_arguments(request, cache, self._function)
        started_s = time.perf_counter()
        try:
            response = await self._call("inference", arguments)
        except self._failure_type as error:
            status, text = _status_and_text(error)
            failure = inference_failure(status, text, variants=self._variants, scrub=self._scrub)
            raise failure from None
        latency_ms = (time.perf_counter() - started_s) * 1e3
        if self._backlog is not None:
            await self._backlog.add(str(response.inference_id))
        return inference_of(response, latency_ms, may_be_cached=cache.reads)

    async def send_feedback(
        self, metric: str, value: float, episode_id: str, tags: Mapping[str, str]
    ) -> str:
        """Hands over the value of an episode's metric.

        The gateway looks the episode up, for up to 6 s, and returns before it has written the
        value.

        Returns:
            The feedback's id.

        Raises:
            InfrastructureError: The store has no such episode, or cannot be asked.
            ConfigurationError: The gateway knows no such metric.
        """
        arguments = {"metric_name": metric, "value": value, "episode_id": episode_id, "tags": tags}
        return str((await self._store("feedback", arguments)).feedback_id)

    async def start_evaluation_run(
        self,
        variant: str,
        *,
        project_name: str,
        display_name: str,
        tags: Mapping[str, str],
    ) -> str:
        """Starts a TensorZero workflow evaluation run that is pinned to a variant.

        Returns:
            Its id.

        Raises:
            InfrastructureError: The store cannot be written.
            ConfigurationError: The gateway does not know the variant.
        """
        arguments = {
            "variants": {self._function.name: variant},
            "project_name": project_name,
            "display_name": display_name,
            "tags": tags,
        }
        return str((await self._store("workflow_evaluation_run", arguments)).run_id)

    async def start_evaluation_episode(
        self, evaluation_run_id: str, task_name: str, tags: Mapping[str, str]
    ) -> str:
        """Adds an episode to a workflow evaluation run.

        Returns:
            Its id. The gateway asks the store for it again with every inference of the episode.

        Raises:
            InfrastructureError: The store cannot be written.
        """
        arguments = {"run_id": evaluation_run_id, "task_name": task_name, "tags": tags}
        return str((await self._store("workflow_evaluation_run_episode", arguments)).episode_id)

    async def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Closes the gateway once what it stores is stored; a second call does nothing.

        An embedded gateway writes what it has not yet written when the last reference to its
        client goes, and its threads outlive it for a moment.

        Args:
            timeout_s: Longest time to wait for that; what a store has not taken by then is lost.
        """
        if self._client is None:
            return
        held = [self._client]
        self._client = None
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(call_on_daemon(_let_go, held), timeout_s)
        await asyncio.sleep(_DRAIN_S)

    async def _store(self, name: str, arguments: Mapping[str, Any]) -> Any:
        try:
            return await self._call(name, arguments)
        except self._failure_type as error:
            raise store_failure(*_status_and_text(error), self._scrub) from None

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        if self._client is None:
            raise GatewayError("the gateway has been closed", retryable=False)
        try:
            # TensorZero's own limits do not cover a gateway that hangs.
            return await self._time_limit.wait_for(getattr(self._client, name)(**arguments))
        except TimeoutError:
            message = f"no answer within {self._time_limit.limit_s:g} s"
            raise RequestTimeoutError(message) from None


def _let_go(held: list[Any]) -> None:
    """Drops the last reference on a thread, since dropping it may take a while."""
    held.clear()
    gc.collect()


def _status_and_text(error: Exception) -> tuple[int | None, str]:
    return getattr(error, "status_code", None), getattr(error, "text", None) or str(error)


async def open_gateway(
    configuration: GatewayConfiguration,
    *,
    gateway_url: str | None = None,
    clickhouse_url: str | None = None,
    timeout_s: float = 60.0,
    cache: CacheOptions = NO_CACHE,
) -> Gateway:
    """Opens a gateway on the running event loop, which is the one that has to use it.

    Args:
        configuration: Which functions and models there are.
        gateway_url: A gateway that runs already; None embeds one in this process.
        clickhouse_url: Where an embedded gateway stores what it does,
            ``http://user:password@host:8123/database``; None stores nothing.
        timeout_s: Time limit of each inference in seconds.
        cache: Whether answers may come from the store; a running gateway has to have one.

    Raises:
        ConfigurationError: TensorZero refuses the configuration.
        CredentialsError: A provider's API key is not set.
        SettingsError: ``gateway_url`` or ``clickhouse_url`` is no URL, or what should answer
            there does not.
    """
    scrub = Scrubber(
        (
            *(os.environ.get(name, "") for name in configuration.credential_variables),
            os.environ.get("TENSORZERO_API_KEY", ""),
            *url_secrets(clickhouse_url or ""),
        )
    )
    if gateway_url is None:
        client = await _build_embedded(configuration, clickhouse_url, scrub)
    else:
        client = await _build_http(gateway_url, scrub)
    backlog = None
    if gateway_url is None and clickhouse_url is not None:  # a running one sees to its own store
        backlog = WriteBacklog(ClickHouseStore(clickhouse_url), Clock())
    return Gateway(
        client,
        variants=configuration.variants,
        timeout_s=timeout_s,
        function=configuration.function,
        scrub=scrub,
        cache=cache,
        backlog=backlog,
    )


def import_tensorzero() -> ModuleType:
    """Imports TensorZero without the log lines that it would write to standard output.

    It reads ``RUST_LOG`` once, when it is imported. A value of the user's is left alone.
    """
    if "RUST_LOG" in os.environ:
        import tensorzero

        return tensorzero
    os.environ["RUST_LOG"] = "off"
    try:
        import tensorzero
    finally:
        del os.environ["RUST_LOG"]
    return tensorzero


async def _build_embedded(
    configuration: GatewayConfiguration, clickhouse_url: str | None, scrub: Scrubber
) -> Any:
    if configuration.offline_port is not None:
        raise ConfigurationError(
            f"{configuration.model_file}: api_base has port 0, which stands for a server that is "
            "started with the run; name the port of a running server"
        )
    if clickhouse_url is not None:
        check_clickhouse_url(clickhouse_url)
    tensorzero = import_tensorzero()
    with tempfile.TemporaryDirectory(prefix="babyai-gateway-") as directory:
        merged = Path(directory) / "tensorzero.toml"

        async def build(observed: GatewayConfiguration) -> Any:
            merged.write_text(observed.to_toml(), encoding="utf-8")
            return await tensorzero.AsyncTensorZeroGateway.build_embedded(
                config_file=glob.escape(str(merged)), clickhouse_url=clickhouse_url
            )

        try:
            if clickhouse_url is not None:
                return await build_with_store(build, configuration)
            return await build(with_observability(configuration, has_store=False))
        except tensorzero.BaseTensorZeroError as error:
            if clickhouse_url is not None and is_store_failure(str(error)):
                raise store_build_failure(str(error), clickhouse_url, scrub) from None
            raise build_failure(str(error), configuration, str(merged), scrub) from None


async def _build_http(gateway_url: str, scrub: Scrubber) -> Any:
    tensorzero = import_tensorzero()
    await asyncio.to_thread(check_gateway, gateway_url, scrub)
    return await tensorzero.AsyncTensorZeroGateway.build_http(gateway_url=gateway_url)
