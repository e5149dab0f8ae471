"""What a store is asked apart from TensorZero's client: tokens, feedback, evaluation episodes.

A ClickHouse, embedded or not, is asked by SQL; the store behind a running gateway through what that
gateway's own user interface asks it.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import httpx

from pytest_babyai.errors import StoreError
from pytest_babyai.gateway.credentials import url_secrets, uses_proxies
from pytest_babyai.gateway.failures import Scrubber
from pytest_babyai.records import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_TIMEOUT_S: Final = 30.0
_NUM_CONNECTIONS: Final = 8

# The ids come along as the table "asked": text in the query would be parsed as SQL, id by id.
_STRUCTURE: Final = "id UUID"
_USAGES: Final = """
SELECT toString(inference_id) AS id,
    if(count() = count(input_tokens), sum(input_tokens), NULL) AS input_tokens,
    if(count() = count(output_tokens), sum(output_tokens), NULL) AS output_tokens
FROM ModelInference WHERE inference_id IN (SELECT id FROM asked) AND toUInt128(inference_id) IN (
    SELECT id_uint FROM InferenceById WHERE id_uint IN (SELECT toUInt128(id) FROM asked))
GROUP BY inference_id FORMAT JSONEachRow
"""
"""Only of inferences that are there as a whole: a gateway writes them into two tables, apart."""

_STORED: Final = """
SELECT DISTINCT toString(inference_id) AS id
FROM ModelInference WHERE inference_id IN (SELECT id FROM asked) AND toUInt128(inference_id) IN (
    SELECT id_uint FROM InferenceById WHERE id_uint IN (SELECT toUInt128(id) FROM asked))
FORMAT JSONEachRow
"""
_EPISODES: Final = """
SELECT DISTINCT toString(id) AS known FROM asked WHERE toUInt128(id) IN (
    SELECT episode_id_uint FROM InferenceByEpisodeId
    WHERE episode_id_uint IN (SELECT toUInt128(id) FROM asked))
FORMAT JSONEachRow
"""
_METRICS: Final = """
SELECT toString(target_id) AS id, groupUniqArray(metric_name) AS metrics
FROM FloatMetricFeedbackByTargetId WHERE target_id IN (SELECT id FROM asked)
GROUP BY target_id FORMAT JSONEachRow
"""
_EVALUATION_EPISODES: Final = """
SELECT DISTINCT toString(id) AS known FROM asked WHERE toUInt128(id) IN (
    SELECT episode_id_uint FROM DynamicEvaluationRunEpisode
    WHERE episode_id_uint IN (SELECT toUInt128(id) FROM asked))
FORMAT JSONEachRow
"""
_PROMPTS: Final = """
SELECT toString(inference_id) AS id, system, input_messages AS messages
FROM ModelInference WHERE inference_id IN (SELECT id FROM asked) FORMAT JSONEachRow
"""
_ADD_EVALUATION_EPISODES: Final = "INSERT INTO DynamicEvaluationRunEpisode FORMAT JSONEachRow"


class StoreQueries(Protocol):
    """What is read from a store; every failure is a `StoreError`."""

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        """Returns which of the inferences the store has."""
        ...

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        """Returns the tokens of the inferences that the store has; costs stay unknown."""
        ...

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Returns by episode which metrics the store has feedback for."""
        ...

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        """Returns which of the episodes feedback may be sent on, as the store has inferences."""
        ...


class ClickHouseStore:
    """A TensorZero database, over ClickHouse's HTTP interface.

    Args:
        url: ``http://user:password@host:8123/database``, as the gateway takes it.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._query = {
            "database": parts.path.strip("/") or "default",
            "output_format_json_quote_64bit_integers": "0",
        }
        self._url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
        self._headers = {
            "X-ClickHouse-User": unquote(parts.username or "default"),
            "X-ClickHouse-Key": unquote(parts.password or ""),
        }
        self._scrub = Scrubber(url_secrets(url))

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        """See `StoreQueries.stored`."""
        return {str(row["id"]) for row in await self._select(_STORED, inference_ids)}

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        """See `StoreQueries.usages`."""
        rows = await self._select(_USAGES, inference_ids)
        return {row["id"]: Usage(row["input_tokens"], row["output_tokens"]) for row in rows}

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """See `StoreQueries.metrics`."""
        rows = await self._select(_METRICS, episode_ids)
        return {row["id"]: frozenset(row["metrics"]) for row in rows}

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        """See `StoreQueries.episodes`."""
        return {str(row["known"]) for row in await self._select(_EPISODES, episode_ids)}

    async def evaluation_episodes(self, episode_ids: Sequence[str]) -> set[str]:
        """Returns which of the episodes belong to a workflow evaluation run.

        Raises:
            StoreError: The store cannot be asked.
        """
        return {str(row["known"]) for row in await self._select(_EVALUATION_EPISODES, episode_ids)}

    async def prompts(self, inference_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Returns what models were sent: system message and, as JSON, the others.

        Raises:
            StoreError: The store cannot be asked.
        """
        rows = await self._select(_PROMPTS, inference_ids)
        return {row["id"]: (row["system"] or "", row["messages"] or "[]") for row in rows}

    async def add_evaluation_episodes(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes rows of the table of evaluation episodes; returns once they cannot be lost.

        Raises:
            StoreError: The store refused them or cannot be reached.
        """
        lines = "\n".join(map(json.dumps, rows))
        await self._post(content=f"{_ADD_EVALUATION_EPISODES}\n{lines}")

    async def _select(self, query: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        if not ids:
            return []
        lines = "\n".join(str(uuid.UUID(each)) for each in ids)
        form = {
            "query": (None, query),
            "asked_structure": (None, _STRUCTURE),
            "asked": ("asked.tsv", lines),
        }
        answer = await self._post(files=form)
        return [_json_of(line) for line in answer.splitlines()]

    async def _post(self, **body: Any) -> str:
        async with _client(self._url, self._headers) as client:
            return await _answer_of(client.post(self._url, params=self._query, **body), self._scrub)


class GatewayStore:
    """The store behind a running TensorZero gateway, through the routes of its user interface.

    Args:
        url: Of the gateway, ``http://localhost:3000``.
        api_key: Its key, None where it asks for none.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._scrub = Scrubber([api_key or "", *url_secrets(url)])

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        """See `StoreQueries.stored`."""
        return set(await self.usages(inference_ids))

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        """See `StoreQueries.usages`."""
        answers = await self._get([f"model_inferences/{each}" for each in inference_ids])
        found = {
            inference_id: answer.get("model_inferences") or []
            for inference_id, answer in zip(inference_ids, answers, strict=True)
        }
        return {inference_id: _usage_of(rows) for inference_id, rows in found.items() if rows}

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """See `StoreQueries.metrics`."""
        answers = await self._get([f"feedback/{each}/latest_id_by_metric" for each in episode_ids])
        return {
            episode_id: frozenset(answer.get("feedback_id_by_metric") or {})
            for episode_id, answer in zip(episode_ids, answers, strict=True)
        }

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        """See `StoreQueries.episodes`; the gateway refuses the others itself."""
        return set(episode_ids)

    async def _get(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        async with _client(self._url, self._headers) as client:
            texts = await asyncio.gather(
                *(
                    _answer_of(client.get(f"{self._url}/internal/{path}"), self._scrub)
                    for path in paths
                )
            )
        return [_json_of(text) for text in texts]


def as_number(episode_id: str) -> str:
    """Returns an id as the tables of evaluation episodes have it: a number of 128 bits."""
    return str(uuid.UUID(episode_id).int)


def _client(url: str, headers: Mapping[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers=headers,
        timeout=_TIMEOUT_S,
        trust_env=uses_proxies(url),
        verify=url.startswith("https:"),  # else its certificates are read for nothing
        limits=httpx.Limits(max_connections=_NUM_CONNECTIONS),
    )


async def _answer_of(asking: Any, scrub: Scrubber) -> str:
    try:
        response: httpx.Response = await asking
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        reason = scrub(str(error)) or type(error).__name__
        raise StoreError(f"the store could not be reached: {reason}") from None
    if response.status_code != httpx.codes.OK:
        reason = scrub(response.text)
        raise StoreError(
            f"the store answered {response.status_code}: {reason}",
            retryable=response.status_code != httpx.codes.NOT_FOUND,
        )
    return response.text


def _json_of(text: str) -> dict[str, Any]:
    """Reads an answer; one of something else, such as a proxy, is a failure of the store."""
    try:
        loaded = json.loads(text)
    except ValueError:
        loaded = None
    if not isinstance(loaded, dict):
        raise StoreError("the store answered something that is not its JSON")
    return loaded


def _usage_of(rows: Sequence[Mapping[str, Any]]) -> Usage:
    inputs = [row.get("input_tokens") for row in rows]
    outputs = [row.get("output_tokens") for row in rows]
    return Usage(_sum(inputs), _sum(outputs))


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
