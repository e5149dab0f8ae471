"""Whether a TensorZero gateway answers at a URL."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from pytest_babyai.gateway.failures import Scrubber

_HEALTH_TIMEOUT_S = 5.0


def check_gateway(gateway_url: str, scrub: Scrubber) -> None:
    """Asks a running gateway how it is, so that a wrong URL is told once and not per episode.

    Raises:
        SettingsError: It is no URL, or no healthy TensorZero gateway answers there.
    """
    _check_url(gateway_url)
    _check_health(gateway_url, scrub)


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
