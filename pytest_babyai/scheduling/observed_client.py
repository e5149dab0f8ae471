"""Passes requests on within a limit, and tells the limit what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_babyai.gateway.inference import Inference, InferenceClient, InferenceRequest
    from pytest_babyai.scheduling.limiter import Limiter


class ObservedClient:
    """An `InferenceClient` that waits for a slot before each request.

    A slot is held from the sending of a request to its answer or failure, and never while an
    episode waits before another try: the tries of a request are requests of their own here.

    Args:
        client: Answers the requests.
        limiter: Bounds how many are in flight.
    """

    def __init__(self, client: InferenceClient, limiter: Limiter) -> None:
        self._client = client
        self._limiter = limiter

    async def infer(self, request: InferenceRequest, /) -> Inference:
        """Asks the client once there is a slot; see `InferenceClient.infer`."""
        limiter = self._limiter
        ticket = limiter.try_acquire()
        if ticket is None:
            ticket = await limiter.acquire()
        try:
            inference = await self._client.infer(request)
        except BaseException as error:
            limiter.release(ticket, error)
            raise
        limiter.release(ticket)
        return inference
