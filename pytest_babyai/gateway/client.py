"""The TensorZero client, embedded or over HTTP."""

from __future__ import annotations

import asyncio
import gc
import glob
import os
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from pytest_babyai.errors import (
    ConfigurationError,
    GatewayError,
    RequestTimeoutError,
    SettingsError,
)
from pytest_babyai.gateway.arguments import ActFunction
from pytest_babyai.gateway.credentials import (
    check_clickhouse_url,
    is_http_url,
    keep_from_proxies,
    public_url,
    secrets_of,
    url_secrets,
    uses_proxies,
)
from pytest_babyai.gateway.failures import (
    Scrubber,
    build_failure,
    inference_failure,
    is_store_failure,
    store_build_failure,
    store_failure,
)
from pytest_babyai.gateway.inference import NO_CACHE, CacheOptions, import_tensorzero
from pytest_babyai.gateway.observability import build_with_store, with_observability
from pytest_babyai.gateway.time_limit import TimeLimit
from pytest_babyai.gateway.toml_files import tables as tables_of
from pytest_babyai.gateway.wire import inference_arguments, inference_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.gateway.inference import Inference, InferenceRequest

__all__ = ["CLOSE_TIMEOUT_S", "Gateway", "import_tensorzero", "open_gateway"]

CLOSE_TIMEOUT_S: Final = 30.0
DEFAULT_TIMEOUT_S: Final = 60.0

_HEALTH_TIMEOUT_S: Final = 5.0

_SLACK_S: Final = 5.0
"""So that TensorZero's own limit, whose message says more, comes first."""

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
    ) -> None:
        self._client = client
        self._variants = variants
        self._function = function or ActFunction()
        self._time_limit = TimeLimit(timeout_s)
        self._scrub = scrub or Scrubber()
        self._cache = cache
        self._failure_type: type[Exception] = import_tensorzero().BaseTensorZeroError

    async def infer(self, request: InferenceRequest) -> Inference:
        """Asks the model for an action.

        Cancelling the call closes the connection to the provider.

        Raises:
            InfrastructureError: No answer came; its type and attributes say why, and whether
                asking again may help.
            ContextOverflowError: The prompt no longer fits the model's context.
            ConfigurationError: The gateway does not know the variant or refuses the arguments.
            CredentialsError: The gateway has no credentials for the model or refuses ours, or the
                provider does, or its account has no credit left.
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
        inference = inference_of(response, latency_ms, may_be_cached=cache.reads)
        return self._without_secrets(inference)

    def _without_secrets(self, inference: Inference) -> Inference:
        """Masks keys that a model or its server echoes, before anybody can write them down."""
        raw = self._scrub.answer(inference.raw)
        reasoning = inference.reasoning and self._scrub.answer(inference.reasoning)
        if raw == inference.raw and reasoning == inference.reasoning:
            return inference
        parsed = inference.parsed and {
            key: self._scrub.answer(value) if isinstance(value, str) else value
            for key, value in inference.parsed.items()
        }
        return replace(inference, raw=raw, reasoning=reasoning, parsed=parsed)

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
            await asyncio.wait_for(_let_go_on_thread(held), timeout_s)
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


async def _let_go_on_thread(held: list[Any]) -> None:
    """Drops the last reference, which takes a while, on a thread that nobody has to wait for."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def let_go() -> None:
        held.clear()
        gc.collect()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any longer
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=let_go, daemon=True).start()
    await done.wait()


def _status_and_text(error: Exception) -> tuple[int | None, str]:
    return getattr(error, "status_code", None), getattr(error, "text", None) or str(error)


async def open_gateway(
    configuration: GatewayConfiguration,
    *,
    gateway_url: str | None = None,
    clickhouse_url: str | None = None,
    timeout_s: float | None = None,
    cache: CacheOptions = NO_CACHE,
) -> Gateway:
    """Opens a gateway on the running event loop, which is the one that has to use it.

    Args:
        configuration: Which functions and models there are.
        gateway_url: A gateway that runs already; None embeds one in this process.
        clickhouse_url: Where an embedded gateway stores what it does,
            ``http://user:password@host:8123/database``; None stores nothing.
        timeout_s: Time limit of each inference in seconds; None for the one that the model file
            sets, else `DEFAULT_TIMEOUT_S`.
        cache: Whether answers may come from the store; a running gateway has to have one.

    Raises:
        ConfigurationError: TensorZero refuses the configuration.
        CredentialsError: A provider's API key is not set.
        SettingsError: ``gateway_url`` or ``clickhouse_url`` is no URL, or what should answer
            there does not.
    """
    urls = [url for url in (gateway_url, clickhouse_url) if url]
    secrets = [secret for url in urls for secret in url_secrets(url)]
    scrub = Scrubber((*secrets_of(configuration.tree, os.environ), *secrets))
    if clickhouse_url is not None:
        check_clickhouse_url(clickhouse_url)
    if gateway_url is not None:
        await _check_gateway(gateway_url, scrub)
    keep_from_proxies(urls)
    if gateway_url is None:
        client = await _build_embedded(configuration, clickhouse_url, scrub)
    else:
        client = await import_tensorzero().AsyncTensorZeroGateway.build_http(
            gateway_url=gateway_url
        )
    return Gateway(
        client,
        variants=configuration.variants,
        timeout_s=timeout_s or _own_timeout_s(configuration) or DEFAULT_TIMEOUT_S,
        function=configuration.function,
        scrub=scrub,
        cache=cache,
    )


def _own_timeout_s(configuration: GatewayConfiguration) -> float | None:
    """The longest time limit that a model or a variant sets itself; its provider's are shorter."""
    tables = [*tables_of(configuration.tree, "models").values()]
    for function in tables_of(configuration.tree, "functions").values():
        tables += tables_of(function, "variants").values()
    limits_ms = [tables_of(table, "timeouts", "non_streaming").get("total_ms") for table in tables]
    known = [limit for limit in limits_ms if isinstance(limit, int)]
    return max(known) * 1e-3 + _SLACK_S if known else None


async def _build_embedded(
    configuration: GatewayConfiguration, clickhouse_url: str | None, scrub: Scrubber
) -> Any:
    if configuration.offline_port is not None:
        raise ConfigurationError(
            f"{configuration.model_file}: api_base has port 0, which stands for a server that is "
            "started with the run; name the port of a running server"
        )
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


async def _check_gateway(gateway_url: str, scrub: Scrubber) -> None:
    """Asks a running gateway how it is, so that a wrong URL is told once and not per episode."""
    shown = f"gateway URL {public_url(gateway_url)}"
    if not is_http_url(gateway_url):
        raise SettingsError(f"{shown} is no URL of a gateway; give one like http://localhost:3000")
    url = f"{gateway_url.rstrip('/')}/health"
    try:
        async with httpx.AsyncClient(
            timeout=_HEALTH_TIMEOUT_S, trust_env=uses_proxies(gateway_url), follow_redirects=True
        ) as client:
            answer = await client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        reason = scrub(str(error)) or type(error).__name__
        raise SettingsError(
            f"{shown}: nothing answers ({reason}); start the gateway or correct the URL"
        ) from None
    text = scrub(answer.text)
    if answer.status_code != httpx.codes.OK:
        raise SettingsError(
            f"{shown}: {public_url(url)} answered {answer.status_code} ({text}); "
            "is this a TensorZero gateway, and healthy?"
        )
    if '"gateway"' not in answer.text:
        raise SettingsError(f"{shown}: what answers is no TensorZero gateway ({text})")
