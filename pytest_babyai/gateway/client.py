"""The TensorZero client, embedded or over HTTP."""

from __future__ import annotations

import asyncio
import gc
import glob
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_babyai.errors import (
    ConfigurationError,
    GatewayError,
    RequestTimeoutError,
    SettingsError,
)
from pytest_babyai.gateway.configuration import ACT_FUNCTION
from pytest_babyai.gateway.failures import Scrubber, build_failure, inference_failure
from pytest_babyai.gateway.inference import Inference
from pytest_babyai.gateway.time_limit import TimeLimit
from pytest_babyai.records import Usage

if TYPE_CHECKING:
    from types import ModuleType

    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.gateway.inference import InferenceRequest

_HEALTH_TIMEOUT_S = 5.0
_DRAIN_S = 0.1
"""TensorZero's threads outlive its client; a process that ends before them may crash."""


class Gateway:
    """An open gateway; made by `open_gateway`."""

    def __init__(
        self,
        client: Any,
        *,
        variants: tuple[str, ...],
        timeout_s: float,
        scrub: Scrubber | None = None,
    ) -> None:
        self._client = client
        self._variants = variants
        self._time_limit = TimeLimit(timeout_s)
        self._scrub = scrub or Scrubber()
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
        if self._client is None:
            raise GatewayError("the gateway has been closed", retryable=False)
        started_s = time.perf_counter()
        try:
            # TensorZero's own limits do not cover a gateway that hangs.
            response = await self._time_limit.wait_for(
                self._client.inference(**_arguments(request))
            )
        except TimeoutError:
            message = f"no answer within {self._time_limit.limit_s:g} s"
            raise RequestTimeoutError(message) from None
        except self._failure_type as error:
            raise self._named(error) from None
        latency_ms = (time.perf_counter() - started_s) * 1e3
        return _inference(response, latency_ms)

    def _named(self, error: Exception) -> Exception:
        status = getattr(error, "status_code", None)
        text = getattr(error, "text", None) or str(error)
        return inference_failure(status, text, variants=self._variants, scrub=self._scrub)

    async def close(self) -> None:
        """Closes the gateway once its threads have come to rest; a second call does nothing."""
        if self._client is None:
            return
        self._client = None
        gc.collect()
        await asyncio.sleep(_DRAIN_S)


async def open_gateway(
    configuration: GatewayConfiguration,
    *,
    gateway_url: str | None = None,
    timeout_s: float = 60.0,
) -> Gateway:
    """Opens a gateway on the running event loop, which is the one that has to use it.

    Args:
        configuration: Which functions and models there are.
        gateway_url: A gateway that runs already; None embeds one in this process.
        timeout_s: Time limit of each inference in seconds.

    Raises:
        ConfigurationError: TensorZero refuses the configuration.
        CredentialsError: A provider's API key is not set.
        SettingsError: ``gateway_url`` is no URL, or no TensorZero gateway answers there.
    """
    scrub = Scrubber(
        os.environ.get(name, "")
        for name in (*configuration.credential_variables, "TENSORZERO_API_KEY")
    )
    if gateway_url is None:
        client = await _build_embedded(configuration, scrub)
    else:
        client = await _build_http(gateway_url, scrub)
    return Gateway(client, variants=configuration.variants, timeout_s=timeout_s, scrub=scrub)


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


async def _build_embedded(configuration: GatewayConfiguration, scrub: Scrubber) -> Any:
    if configuration.offline_port is not None:
        raise ConfigurationError(
            f"{configuration.model_file}: api_base has port 0, which stands for a server that is "
            "started with the run; name the port of a running server"
        )
    tensorzero = import_tensorzero()
    with tempfile.TemporaryDirectory(prefix="babyai-gateway-") as directory:
        merged = Path(directory) / "tensorzero.toml"
        merged.write_text(configuration.to_toml(), encoding="utf-8")
        try:
            return await tensorzero.AsyncTensorZeroGateway.build_embedded(
                config_file=glob.escape(str(merged))
            )
        except tensorzero.BaseTensorZeroError as error:
            raise build_failure(str(error), configuration, str(merged), scrub) from None


async def _build_http(gateway_url: str, scrub: Scrubber) -> Any:
    tensorzero = import_tensorzero()
    _check_url(gateway_url)
    await asyncio.to_thread(_check_health, gateway_url, scrub)
    return await tensorzero.AsyncTensorZeroGateway.build_http(gateway_url=gateway_url)


def _check_url(gateway_url: str) -> None:
    try:
        url = urlsplit(gateway_url)
        is_url = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise SettingsError(
            f"gateway URL {gateway_url!r} is no URL of a gateway; give one like http://localhost:3000"
        )


def _check_health(gateway_url: str, scrub: Scrubber) -> None:
    """Asks the gateway how it is, so that a wrong URL is told once and not for each episode."""
    url = f"{gateway_url.rstrip('/')}/health"
    try:
        with urllib.request.urlopen(url, timeout=_HEALTH_TIMEOUT_S) as answer:  # noqa: S310 - _check_url
            text = answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        text = scrub(error.read().decode(errors="replace"))
        raise SettingsError(
            f"gateway URL {gateway_url}: {url} answered {error.code} ({text}); "
            "is this a TensorZero gateway, and healthy?"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise SettingsError(
            f"gateway URL {gateway_url}: nothing answers ({scrub(str(reason))}); "
            "start the gateway or correct the URL"
        ) from None
    if '"gateway"' not in text:
        raise SettingsError(
            f"gateway URL {gateway_url}: what answers is no TensorZero gateway ({scrub(text)})"
        )


def _arguments(request: InferenceRequest) -> dict[str, Any]:
    content = {
        "type": "template",
        "name": "user",
        "arguments": {
            "mission": request.mission,
            "observation": request.observation,
            "history": [
                {"observation": observation, "action": action}
                for observation, action in request.history
            ],
        },
    }
    arguments: dict[str, Any] = {
        "function_name": ACT_FUNCTION,
        "variant_name": request.variant,
        "episode_id": request.episode_id,
        "input": {"messages": [{"role": "user", "content": [content]}]},
        "tags": dict(request.tags),
    }
    if request.seed is not None:
        arguments["params"] = {"chat_completion": {"seed": request.seed}}
    return arguments


def _inference(response: Any, latency_ms: float) -> Inference:
    output, usage = response.output, response.usage
    return Inference(
        inference_id=str(response.inference_id),
        raw=output.raw or "",
        parsed=output.parsed if isinstance(output.parsed, Mapping) else None,
        usage=Usage(usage.input_tokens, usage.output_tokens, usage.cost),
        latency_ms=latency_ms,
    )
