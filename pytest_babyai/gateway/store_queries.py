"""What a store is asked apart from TensorZero's client: tokens, feedback, evaluation episodes.

A ClickHouse, embedded or not, is asked by SQL; the store behind a running gateway through what that
gateway's own user interface asks it.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlencode, urlsplit

from pytest_babyai.errors import GatewayError
from pytest_babyai.gateway.daemon_calls import call_on_daemon
from pytest_babyai.gateway.failures import Scrubber
from pytest_babyai.gateway.store_failures import url_secrets
from pytest_babyai.records import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_TIMEOUT_S: Final = 10.0
_MAX_IDS: Final = 2_000
"""Ids in one query: 80 kB of text, where ClickHouse takes 256."""
_NUM_CONNECTIONS: Final = 8
_NOT_FOUND: Final = 404

ACKNOWLEDGED_PATH: Final = "/acknowledged"
"""Where the embedded store tells which inferences and feedback came in lately."""

_USAGES: Final = """
SELECT inference_id AS id,
    if(count() = count(input_tokens), sum(input_tokens), NULL) AS input_tokens,
    if(count() = count(output_tokens), sum(output_tokens), NULL) AS output_tokens
FROM ModelInference WHERE inference_id IN ({ids}) AND toUInt128(inference_id) IN (
    SELECT id_uint FROM InferenceById
    WHERE id_uint IN (SELECT toUInt128(toUUID(arrayJoin([{ids}])))))
GROUP BY inference_id FORMAT JSONEachRow
"""
"""Only of inferences that are there as a whole: a gateway writes them into two tables, apart."""

_EPISODES: Final = """
SELECT DISTINCT toString(episode_id_uint) AS number
FROM InferenceByEpisodeId WHERE episode_id_uint IN ({ids}) FORMAT JSONEachRow
"""
_METRICS: Final = """
SELECT target_id AS id, groupUniqArray(metric_name) AS metrics
FROM FloatMetricFeedbackByTargetId WHERE target_id IN ({ids}) GROUP BY target_id FORMAT JSONEachRow
"""
_EVALUATION_EPISODES: Final = """
SELECT DISTINCT toString(episode_id_uint) AS number
FROM DynamicEvaluationRunEpisode WHERE episode_id_uint IN ({ids}) FORMAT JSONEachRow
"""


_PROMPTS: Final = """
SELECT inference_id AS id, system, input_messages AS messages
FROM ModelInference WHERE inference_id IN ({ids}) FORMAT JSONEachRow
"""

_ADD_EVALUATION_EPISODES: Final = """
INSERT INTO DynamicEvaluationRunEpisode SETTINGS async_insert=1, wait_for_async_insert=1
FORMAT JSONEachRow"""


class StoreQueries(Protocol):
    """What is read from a store."""

    async def acknowledged(self, ids: Sequence[str]) -> set[str]:
        """Returns which inferences and feedback came in lately and will not be lost.

        That costs a store hardly anything; one that cannot tell says of none.

        Raises:
            GatewayError: The store cannot be asked.
        """
        ...

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        """Returns which of the inferences the store will not lose any more.

        Raises:
            GatewayError: The store cannot be asked.
        """
        ...

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        """Returns the tokens of the inferences that the store has; costs stay unknown.

        Raises:
            GatewayError: The store cannot be asked.
        """
        ...

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Returns by episode which metrics the store has feedback for.

        Raises:
            GatewayError: The store cannot be asked.
        """
        ...

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        """Returns which of the episodes may be told of, as the store has inferences of them.

        Raises:
            GatewayError: The store cannot be asked.
        """
        ...


class ClickHouseStore:
    """A TensorZero database, over ClickHouse's HTTP interface.

    Args:
        url: ``http://user:password@host:8123/database``, as the gateway takes it.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = {
            "database": parts.path.strip("/") or "default",
            "output_format_json_quote_64bit_integers": "0",
        }
        address = parts.netloc.rpartition("@")[2]
        self._url = f"{parts.scheme}://{address}/?{urlencode(query)}"
        self._headers = {
            "X-ClickHouse-User": unquote(parts.username or "default"),
            "X-ClickHouse-Key": unquote(parts.password or ""),
        }
        self._scrub = Scrubber(url_secrets(url))
        self._acknowledged_url = f"{parts.scheme}://{address}{ACKNOWLEDGED_PATH}"
        self._tells_acknowledged = True

    async def acknowledged(self, ids: Sequence[str]) -> set[str]:
        """See `StoreQueries.acknowledged`; the embedded store tells."""
        if not self._tells_acknowledged:
            return set()
        try:
            lines = await call_on_daemon(self._post, "\n".join(ids), self._acknowledged_url)
        except GatewayError as error:
            if error.retryable:
                raise
            self._tells_acknowledged = False  # a ClickHouse knows no such path
            return set()
        return set(lines.split())

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        """See `StoreQueries.stored`.

        The embedded store is asked for what came in lately: a SELECT makes it write its tables.
        """
        found = await self.acknowledged(inference_ids)
        return found if self._tells_acknowledged else set(await self.usages(inference_ids))

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        """See `StoreQueries.usages`."""
        rows = await self._select(_USAGES, inference_ids, _quoted)
        return {row["id"]: Usage(row["input_tokens"], row["output_tokens"]) for row in rows}

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """See `StoreQueries.metrics`."""
        rows = await self._select(_METRICS, episode_ids, _quoted)
        return {row["id"]: frozenset(row["metrics"]) for row in rows}

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        """See `StoreQueries.episodes`."""
        return set(map(_episode_id, await self._select(_EPISODES, episode_ids, _numbered)))

    async def evaluation_episodes(self, episode_ids: Sequence[str]) -> set[str]:
        """Returns which of the episodes belong to a workflow evaluation run.

        Raises:
            GatewayError: The store cannot be asked.
        """
        rows = await self._select(_EVALUATION_EPISODES, episode_ids, _numbered)
        return set(map(_episode_id, rows))

    async def prompts(self, inference_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Returns what models were sent: system message and, as JSON, the others.

        Raises:
            GatewayError: The store cannot be asked.
        """
        rows = await self._select(_PROMPTS, inference_ids, _quoted)
        return {row["id"]: (row["system"] or "", row["messages"] or "[]") for row in rows}

    async def add_evaluation_episodes(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes rows of the table of evaluation episodes; returns once they cannot be lost.

        Raises:
            GatewayError: The store refused them or cannot be reached.
        """
        lines = "\n".join(map(json.dumps, rows))
        await call_on_daemon(self._post, f"{_ADD_EVALUATION_EPISODES}\n{lines}")

    async def _select(
        self, query: str, ids: Sequence[str], literal: Callable[[str], str]
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for part in _parts(ids):
            text = query.format(ids=",".join(map(literal, part)))
            answer = await call_on_daemon(self._post, text)
            rows += map(json.loads, answer.splitlines())
        return rows

    def _post(self, query: str, url: str | None = None) -> str:
        request = urllib.request.Request(url or self._url, query.encode(), self._headers)  # noqa: S310 - check_clickhouse_url
        return _answer_of(request, self._scrub)


class GatewayStore:
    """The store behind a running TensorZero gateway, through the routes of its user interface.

    Args:
        url: Of the gateway, ``http://localhost:3000``.
        api_key: Its key, None where it asks for none.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._scrub = Scrubber([api_key or ""])
        self._connections = asyncio.Semaphore(_NUM_CONNECTIONS)

    async def acknowledged(self, ids: Sequence[str]) -> set[str]:  # noqa: ARG002 - a protocol
        """See `StoreQueries.acknowledged`; a gateway cannot tell."""
        return set()

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        """See `StoreQueries.stored`."""
        return set(await self.usages(inference_ids))

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        """See `StoreQueries.usages`."""
        paths = [f"model_inferences/{inference_id}" for inference_id in inference_ids]
        answers = await asyncio.gather(*map(self._get, paths))
        found = {
            inference_id: (answer or {}).get("model_inferences", [])
            for inference_id, answer in zip(inference_ids, answers, strict=True)
        }
        return {inference_id: _usage_of(rows) for inference_id, rows in found.items() if rows}

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """See `StoreQueries.metrics`."""
        paths = [f"feedback/{episode_id}/latest_id_by_metric" for episode_id in episode_ids]
        answers = await asyncio.gather(*map(self._get, paths))
        return {
            episode_id: frozenset((answer or {}).get("feedback_id_by_metric", {}))
            for episode_id, answer in zip(episode_ids, answers, strict=True)
        }

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        """See `StoreQueries.episodes`; the gateway refuses the others itself."""
        return set(episode_ids)

    async def _get(self, path: str) -> dict[str, Any] | None:
        request = urllib.request.Request(f"{self._url}/internal/{path}", headers=self._headers)  # noqa: S310 - check_gateway
        async with self._connections:
            answer = await call_on_daemon(_answer_of, request, self._scrub)
        loaded: dict[str, Any] = json.loads(answer)
        return loaded


def as_number(episode_id: str) -> str:
    """Returns an id as the tables of evaluation episodes have it: a number of 128 bits."""
    return str(uuid.UUID(episode_id).int)


def _episode_id(row: Mapping[str, Any]) -> str:
    return str(uuid.UUID(int=int(row["number"])))


def _quoted(identifier: str) -> str:
    return f"'{uuid.UUID(identifier)}'"


def _numbered(identifier: str) -> str:
    return f"toUInt128('{as_number(identifier)}')"


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _MAX_IDS):
        yield ids[start : start + _MAX_IDS]


def _usage_of(rows: Sequence[Mapping[str, Any]]) -> Usage:
    inputs = [row.get("input_tokens") for row in rows]
    outputs = [row.get("output_tokens") for row in rows]
    return Usage(_sum(inputs), _sum(outputs))


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _answer_of(request: urllib.request.Request, scrub: Scrubber) -> str:
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - by its makers
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        told = scrub(error.read().decode(errors="replace"))
        known = error.code != _NOT_FOUND
        raise GatewayError(f"the store answered {error.code}: {told}", retryable=known) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise GatewayError(f"the store could not be reached: {scrub(str(reason))}") from None
