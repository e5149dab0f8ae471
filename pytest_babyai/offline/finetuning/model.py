"""The transformer: small, and with a prompt that is read in both directions.

A decoder as usual (Vaswani et al. 2017; normalisation before each part, rotary positions: Su et
al. 2021), but for some things. The tokens of a prompt see each other in both directions, those of
an answer only what comes before (prefix language model: Raffel et al. 2020): what was seen early in
a prompt is often to be read in the light of what came later. Every layer blends a token with the
few before it by a short convolution (So et al. 2021). And attention can compare tokens, and those
before them, by fixed random codes: whether two are the same. To look up what was said of a thing
means to find where the same words stood before. Attention can learn that (induction heads: Olsson
et al. 2022), yet from few chats a small network rather learns them by heart; given likeness, it is
left to learn what to compare (as in Akyürek et al. 2024).
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pytest_babyai.offline.chat import Answer, Question
from pytest_babyai.offline.finetuning.jobs import read_json, write_json
from pytest_babyai.offline.finetuning.tokenizer import END, PAD, Tokenizer, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any


REACH = 3
"""Tokens before each one that it is blended with, and compared by."""
CODE = 32
"""Length of a token's fixed code."""
LIKENESS = 4.0
"""Factor of the weights of comparisons: a few steps have to make them matter."""
_CODES = -1
ROTARY_SHARE = 0.5
"""Share of a head's components that tell positions; the others tell likeness alone."""
ROTARY_BASE = 1000.0
"""Prompts are some hundred tokens long, so slow rotations would tell nothing."""


@dataclass(frozen=True)
class NetworkSize:
    """How large a network is.

    Attributes:
        vocabulary: Number of token ids.
        width: Size of the hidden state; a multiple of ``num_heads`` times 2.
        num_layers: Layers.
        num_heads: Attention heads in each.
        dropout: Share of the hidden state that training leaves out at a time.
    """

    vocabulary: int
    width: int = 128
    num_layers: int = 4
    num_heads: int = 4
    dropout: float = 0.1

    def to_json(self) -> dict[str, Any]:
        """Returns the attributes by their names."""
        return asdict(self)


class Cache:
    """What has to be known of the tokens read so far.

    Attributes:
        layers: Each layer's keys and values.
        latest: By layer, the last `REACH` tokens as they came to be blended; by `_CODES`, their
            codes.
    """

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.latest: dict[int, Tensor] = {}

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds tokens to a layer; returns all of its keys and values."""
        if layer in self.layers:
            known_keys, known_values = self.layers[layer]
            keys = torch.cat((known_keys, keys), dim=2)
            values = torch.cat((known_values, values), dim=2)
        self.layers[layer] = keys, values
        return keys, values

    def keep(self, rows: Tensor) -> None:
        """Keeps these sequences of the batch only."""
        self.layers = {
            layer: (keys[rows], values[rows]) for layer, (keys, values) in self.layers.items()
        }
        self.latest = {layer: tokens[rows] for layer, tokens in self.latest.items()}


class _Reading(NamedTuple):
    """What all layers have in common while some tokens are read.

    Attributes:
        mask: Which tokens see which.
        turns: Cosines and sines of the tokens' positions.
        codes: The code of each token and of the `REACH` before it, ``[batch, length, REACH + 1,
            CODE]``.
        cache: What was read before.
    """

    mask: Tensor | None
    turns: tuple[Tensor, Tensor]
    codes: Tensor
    cache: Cache | None


class _Layer(nn.Module):
    def __init__(self, size: NetworkSize, index: int) -> None:
        super().__init__()
        width = size.width
        self._index = index
        self._num_heads = size.num_heads
        self._dropout = size.dropout
        self.attention_norm = nn.LayerNorm(width)
        self.blend = nn.Parameter(torch.zeros(REACH, width))
        self.compared_from = nn.Parameter(torch.zeros(size.num_heads, REACH + 1))
        self.compared_to = nn.Parameter(torch.zeros(size.num_heads, REACH + 1))
        self.attention_in = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, reading: _Reading) -> Tensor:
        x = x + self._dropped(self._attend(self._blended(self.attention_norm(x), reading), reading))
        fed = self.feed_out(functional.gelu(self.feed_in(self.feed_norm(x))))
        return x + self._dropped(fed)

    def _attend(self, x: Tensor, reading: _Reading) -> Tensor:
        batch, length, width = x.shape
        head = width // self._num_heads
        shape = (batch, length, 3, self._num_heads, head)
        queries, keys, values = self.attention_in(x).view(shape).permute(2, 0, 3, 1, 4)
        queries = self._with_codes(_turned(queries, reading.turns), self.compared_from, reading)
        keys = self._with_codes(_turned(keys, reading.turns), self.compared_to, reading)
        if reading.cache is not None:
            keys, values = reading.cache.extend(self._index, keys, values)
        seen = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=reading.mask, scale=head**-0.5
        )
        out: Tensor = self.attention_out(seen.transpose(1, 2).reshape(batch, length, width))
        return out

    def _with_codes(self, x: Tensor, weights: Tensor, reading: _Reading) -> Tensor:
        """Adds, for each head, the codes of the tokens that it compares."""
        compared = torch.einsum("hn,blnc->bhlc", LIKENESS * weights, reading.codes)
        return torch.cat((x, compared * (x.shape[-1] ** 0.25)), dim=-1)

    def _blended(self, x: Tensor, reading: _Reading) -> Tensor:
        length = x.shape[1]
        if reading.mask is not None:  # what pads a sequence is not blended
            x = x * reading.mask[:, 0, -1, -length:, None]
        extended = _with_earlier(x, self._index, reading.cache)
        for distance, weights in enumerate(self.blend, 1):
            start = REACH - distance
            x = x + weights * extended[:, start : start + length]
        return x

    def _dropped(self, x: Tensor) -> Tensor:
        """Leaves numbers out, the same ones for all tokens of a chat (Gal and Ghahramani 2016)."""
        if not self.training:
            return x
        kept = x.new_ones(x.shape[0], 1, x.shape[2])
        return x * functional.dropout(kept, self._dropout)


def _with_earlier(x: Tensor, key: int, cache: Cache | None) -> Tensor:
    """Puts the `REACH` tokens read before in front; zeros if there are none."""
    before = cache.latest.get(key) if cache is not None else None
    if before is None:
        before = x.new_zeros(x.shape[0], REACH, x.shape[2])
    extended = torch.cat((before, x), dim=1)
    if cache is not None:
        cache.latest[key] = extended[:, -REACH:]
    return extended


def _turned(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates pairs of numbers by an angle that grows with the token's position.

    The rest of the numbers, see `ROTARY_SHARE`, stay as they are and tell likeness at any distance.
    """
    cosine, sine = turns
    half = cosine.shape[-1]
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    turned = first * cosine - second * sine, second * cosine + first * sine
    return torch.cat((*turned, rest), dim=-1)


class Network(nn.Module):
    """Token ids in, scores of the next token out.

    Args:
        size: How large it is.
    """

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(size.vocabulary, size.width)
        self.layers = nn.ModuleList(_Layer(size, index) for index in range(size.num_layers))
        self.norm = nn.LayerNorm(size.width)
        self.codes: Tensor
        self.register_buffer("codes", _random_codes(size.vocabulary))
        self._initialise()

    def _initialise(self) -> None:
        deep = (2 * self.size.num_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if name.endswith("blend"):
                nn.init.normal_(parameter, std=0.2)
            elif "compared" in name:
                nn.init.normal_(parameter, std=0.25)
            elif name == "embedding.weight":
                nn.init.normal_(parameter, std=0.05)
            elif parameter.dim() > 1:
                is_last = name.endswith(("attention_out.weight", "feed_out.weight"))
                scale = parameter.shape[1] ** -0.5
                nn.init.normal_(parameter, std=scale * (deep if is_last else 1.0))

    def forward(
        self, ids: Tensor, mask: Tensor | None, *, start: int = 0, cache: Cache | None = None
    ) -> Tensor:
        """Reads tokens.

        Args:
            ids: Token ids ``[batch, length]``.
            mask: Which tokens see which, ``[batch, 1, length, length read so far]``; None for all.
            start: Position of the first of them.
            cache: What was read before, to be added to.

        Returns:
            What stands for each token, ``[batch, length, width]``.
        """
        codes = _with_earlier(self.codes[ids], _CODES, cache)
        reading = _Reading(
            mask,
            self._turns(start, ids.shape[1]),
            codes.unfold(1, REACH + 1, 1).transpose(2, 3).flip(2),
            cache,
        )
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, reading)
        normed: Tensor = self.norm(x)
        return normed

    def scores(self, x: Tensor) -> Tensor:
        """Returns the score of every token id to come next, ``[..., vocabulary]``."""
        return functional.linear(x, self.embedding.weight)  # the same weights both ways

    def _turns(self, start: int, length: int) -> tuple[Tensor, Tensor]:
        half = int(ROTARY_SHARE * self.size.width / self.size.num_heads / 2)
        speeds = ROTARY_BASE ** (-torch.arange(half, dtype=torch.float32) / half)
        positions = torch.arange(start, start + length, dtype=torch.float32)
        angles = positions[:, None] * speeds[None, :]
        return angles.cos(), angles.sin()

    @property
    def num_parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


def _random_codes(vocabulary: int) -> Tensor:
    """Returns a random direction for each token; none for the one that pads."""
    generator = torch.Generator().manual_seed(0)
    codes = functional.normalize(torch.randn(vocabulary, CODE, generator=generator), dim=-1)
    codes[PAD] = 0.0
    return codes


def prompt_mask(is_token: Tensor, num_prompt: Tensor) -> Tensor:
    """Returns which tokens see which: a prompt both ways, an answer what comes before it.

    Args:
        is_token: False where a sequence is padded, ``[batch, length]``.
        num_prompt: Positions that belong to the prompt or precede it, ``[batch]``.

    Returns:
        ``[batch, 1, length, length]``; True where the row's token sees the column's.
    """
    length = is_token.shape[1]
    positions = torch.arange(length)
    is_before = positions[None, :, None] >= positions[None, None, :]
    is_prompt = positions[None, None, :] < num_prompt[:, None, None]
    sees = (is_before | is_prompt) & is_token[:, None, :]
    itself = torch.eye(length, dtype=torch.bool)  # a padded row has to see something
    return (sees | itself)[:, None]


class Ask(NamedTuple):
    """A prompt to be answered.

    Attributes:
        prompt: Its token ids.
        temperature: 0 takes the likeliest token; above it tokens are drawn, the less likely ones
            the more often the higher it is.
        seed: Seed of the draws.
        max_tokens: Longest answer, in tokens.
    """

    prompt: list[int]
    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = 256


class Generated(NamedTuple):
    """An answer's token ids, and whether the model ended it."""

    ids: list[int]
    is_whole: bool


@torch.inference_mode()
def generate(network: Network, asks: Sequence[Ask]) -> list[Generated]:
    """Answers several prompts at once."""
    length = max(len(ask.prompt) for ask in asks)
    # Padded at the front, so that all answers begin in the same column. Positions are relative,
    # so that a sequence may start anywhere.
    ids = torch.tensor([[PAD] * (length - len(ask.prompt)) + ask.prompt for ask in asks])
    is_token = torch.tensor(
        [[n >= length - len(ask.prompt) for n in range(length)] for ask in asks]
    )
    cache = Cache()
    mask = prompt_mask(is_token, torch.full((len(asks),), length))
    scores = network.scores(network(ids, mask, cache=cache)[:, -1])
    answering = _Answering(asks)
    while (alive := answering.add(scores)) is not None:
        if len(alive) < len(is_token):
            cache.keep(alive)
            is_token = is_token[alive]
        is_token = torch.cat((is_token, torch.ones(len(alive), 1, dtype=torch.bool)), dim=1)
        mask = is_token[:, None, None, :]
        start = is_token.shape[1] - 1
        hidden = network(answering.latest(), mask, start=start, cache=cache)
        scores = network.scores(hidden[:, -1])
    return answering.results()


class _Answering:
    """The answers that are being written; those that are finished leave the batch."""

    def __init__(self, asks: Sequence[Ask]) -> None:
        self._asks = asks
        self._ids: list[list[int]] = [[] for _ in asks]
        self._is_whole = [False] * len(asks)
        self._rows = list(range(len(asks)))
        self._generators = [torch.Generator().manual_seed(ask.seed) for ask in asks]

    def add(self, scores: Tensor) -> Tensor | None:
        """Chooses every answer's next token.

        Returns:
            Which rows of the batch go on; None if there are none.
        """
        alive = []
        likeliest = scores.argmax(dim=-1).tolist()
        for index, row in enumerate(self._rows):
            ask = self._asks[row]
            is_greedy = ask.temperature <= 0
            token = likeliest[index] if is_greedy else self._draw(row, scores[index])
            if token == END:
                self._is_whole[row] = True
                continue
            self._ids[row].append(token)
            if len(self._ids[row]) < ask.max_tokens:
                alive.append(index)
        self._rows = [self._rows[index] for index in alive]
        return torch.tensor(alive) if alive else None

    def _draw(self, row: int, scores: Tensor) -> int:
        shares = (scores / self._asks[row].temperature).softmax(dim=-1)
        return int(torch.multinomial(shares, 1, generator=self._generators[row]))

    def latest(self) -> Tensor:
        return torch.tensor([[self._ids[row][-1]] for row in self._rows])

    def results(self) -> list[Generated]:
        return [
            Generated(ids, is_whole)
            for ids, is_whole in zip(self._ids, self._is_whole, strict=True)
        ]


CONFIGURATION_FILE = "model.json"
WEIGHTS_FILE = "weights.pt"


@dataclass(frozen=True)
class LanguageModel:
    """A trained model.

    Attributes:
        tokenizer: Its tokenizer.
        network: Its network.
        max_prompt: Longest prompt, in tokens of its own; what is beyond is cut out of the middle.
        max_answer: Longest answer, in tokens of its own.
    """

    tokenizer: Tokenizer
    network: Network
    max_prompt: int
    max_answer: int

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """Answers several prompts at once."""
        asks = [
            Ask(
                shorten(self.tokenizer.encode_prompt(question.messages), self.max_prompt),
                question.temperature,
                question.seed,
                self.max_answer,
            )
            for question in questions
        ]
        written = generate(self.network, asks)
        return [Answer(self.tokenizer.decode(item.ids), item.is_whole) for item in written]

    def save(self, directory: Path) -> None:
        """Keeps the model; the directory is there as a whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        draft = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
        draft.mkdir(parents=True)
        try:
            write_json(
                draft / CONFIGURATION_FILE,
                {
                    "size": self.network.size.to_json(),
                    "tokenizer": self.tokenizer.to_json(),
                    "max_prompt": self.max_prompt,
                    "max_answer": self.max_answer,
                },
            )
            with (draft / WEIGHTS_FILE).open("wb") as file:
                torch.save(self.network.state_dict(), file)
            if directory.exists():
                shutil.rmtree(directory)
            draft.rename(directory)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    @classmethod
    def load(cls, directory: Path) -> LanguageModel:
        """Returns the model that `save` kept.

        Raises:
            OSError: It cannot be read.
            ValueError: The directory holds no model.
        """
        told = read_json(directory / CONFIGURATION_FILE)
        if told is None:
            raise ValueError(f"{directory} holds no model")
        network = Network(NetworkSize(**told["size"]))
        weights = torch.load(directory / WEIGHTS_FILE, map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        network.eval()
        tokenizer = Tokenizer.from_json(told["tokenizer"])
        return cls(tokenizer, network, told["max_prompt"], told["max_answer"])
