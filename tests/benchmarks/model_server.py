"""A model server that costs next to nothing: answers "go forward" after a drawn latency.

``python model_server.py MIN_MS MAX_MS SIGMA`` prints its port; ``GET /stats`` gives the number of
answers and the sum of their latencies. With a SIGMA above 0 every mission has its own pace: its
latencies are multiplied by a log-normal factor.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from contextlib import suppress

MISSION = re.compile(rb"Mission: [a-z ,]+")
ANSWER = {
    "id": "b",
    "object": "chat.completion",
    "created": 1,
    "model": "constant",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": '{"action": "go forward"}'},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 500, "completion_tokens": 8, "total_tokens": 508},
}


def response(body: bytes) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Model:
    def __init__(self, min_ms: float, max_ms: float, sigma: float) -> None:
        self.sigma = sigma
        self.range_s = (min_ms / 1e3, max_ms / 1e3)
        self.draw = random.Random(0)
        self.num_answers = 0
        self.latency_sum_s = 0.0
        self.answer = response(json.dumps(ANSWER).encode())

    def latency_s(self, body: bytes) -> float:
        latency_s = self.draw.uniform(*self.range_s)
        if self.sigma:
            mission = MISSION.search(body)
            assert mission, body
            latency_s *= random.Random(mission[0]).lognormvariate(0, self.sigma)
        self.num_answers += 1
        self.latency_sum_s += latency_s
        return latency_s

    def stats(self) -> bytes:
        stats = {"num_answers": self.num_answers, "latency_sum_s": self.latency_sum_s}
        return response(json.dumps(stats).encode())


class Connection(asyncio.Protocol):
    def __init__(self, model: Model) -> None:
        self.model = model
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, rest = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(rest) < int(fields.get(b"content-length", b"0")):
            return
        self.received = b""
        if head.startswith(b"GET"):
            self.transport.write(self.model.stats())
        elif latency_s := self.model.latency_s(rest):
            asyncio.get_running_loop().call_later(latency_s, self.write)
        else:
            self.write()

    def write(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.model.answer)


async def main(min_ms: float, max_ms: float, sigma: float) -> None:
    model = Model(min_ms, max_ms, sigma)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(model), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*map(float, sys.argv[1:4])))
