"""The transformer: small, and with a prompt that is read in both directions.

A decoder as usual (Vaswani et al. 2017; normalisation before each part, rotary positions: Su et
al. 2021), but for two things. The tokens of a prompt see each other in both directions, those of an
answer only what comes before (prefix language model: Raffel et al. 2020): what was seen early in a
prompt is often to be read in the light of what came later. And every layer blends a token with the
few before it by a short convolution (So et al. 2021): to look up what was said of a thing, a token
has to know which thing it was said of, and a small network takes long to learn that by attention
alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from typing import Any

BLENDED = 3
"""Tokens before each one that it is blended with."""
ROTARY_BASE = 1000.0
"""Prompts are some hundred tokens long, so slow rotations would tell nothing."""


@dataclass(frozen=True)
class NetworkSize:
    """How large a network is.

    Attributes:
        vocabulary: Number of token ids.
        width: Numbers that stand for a token; a multiple of ``num_heads`` times 2.
        num_layers: Layers.
        num_heads: Attention heads in each.
        dropout: Share of the numbers that training leaves out at a time.
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
    """What each layer has to know of the tokens read so far.

    Attributes:
        layers: Keys and values.
        latest: The last `BLENDED` tokens as they came to be blended.
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


class _Layer(nn.Module):
    def __init__(self, size: NetworkSize, index: int) -> None:
        super().__init__()
        width = size.width
        self._index = index
        self._num_heads = size.num_heads
        self._dropout = size.dropout
        self.attention_norm = nn.LayerNorm(width)
        self.blend = nn.Parameter(torch.zeros(BLENDED, width))
        self.attention_in = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)

    def forward(
        self, x: Tensor, mask: Tensor | None, turns: tuple[Tensor, Tensor], cache: Cache | None
    ) -> Tensor:
        blended = self._blended(self.attention_norm(x), mask, cache)
        x = x + self._dropped(self._attend(blended, mask, turns, cache))
        fed = self.feed_out(functional.gelu(self.feed_in(self.feed_norm(x))))
        return x + self._dropped(fed)

    def _attend(
        self, x: Tensor, mask: Tensor | None, turns: tuple[Tensor, Tensor], cache: Cache | None
    ) -> Tensor:
        batch, length, width = x.shape
        shape = (batch, length, 3, self._num_heads, width // self._num_heads)
        queries, keys, values = self.attention_in(x).view(shape).permute(2, 0, 3, 1, 4)
        queries, keys = _turned(queries, turns), _turned(keys, turns)
        if cache is not None:
            keys, values = cache.extend(self._index, keys, values)
        seen = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        out: Tensor = self.attention_out(seen.transpose(1, 2).reshape(batch, length, width))
        return out

    def _blended(self, x: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        length = x.shape[1]
        if mask is not None:  # what pads a sequence is seen by no other token, and not blended
            x = x * mask[:, 0, -1, -length:, None]
        before = cache.latest.get(self._index) if cache is not None else None
        if before is None:
            before = x.new_zeros(x.shape[0], BLENDED, x.shape[2])
        extended = torch.cat((before, x), dim=1)
        if cache is not None:
            cache.latest[self._index] = extended[:, -BLENDED:]
        for distance, weights in enumerate(self.blend, 1):
            start = BLENDED - distance
            x = x + weights * extended[:, start : start + length]
        return x

    def _dropped(self, x: Tensor) -> Tensor:
        """Leaves numbers out, the same ones for all tokens of a chat (Gal and Ghahramani 2016)."""
        if not self.training:
            return x
        kept = x.new_ones(x.shape[0], 1, x.shape[2])
        return x * functional.dropout(kept, self._dropout)


def _turned(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates pairs of numbers by an angle that grows with the token's position."""
    cosine, sine = turns
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


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
        self._initialise()

    def _initialise(self) -> None:
        deep = (2 * self.size.num_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if name.endswith("blend"):
                nn.init.normal_(parameter, std=0.2)
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
        turns = self._turns(start, ids.shape[1])
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, mask, turns, cache)
        normed: Tensor = self.norm(x)
        return normed

    def scores(self, x: Tensor) -> Tensor:
        """Returns the score of every token id to come next, ``[..., vocabulary]``."""
        return functional.linear(x, self.embedding.weight)  # the same weights both ways

    def _turns(self, start: int, length: int) -> tuple[Tensor, Tensor]:
        half = self.size.width // self.size.num_heads // 2
        speeds = ROTARY_BASE ** (-torch.arange(half, dtype=torch.float32) / half)
        positions = torch.arange(start, start + length, dtype=torch.float32)
        angles = positions[:, None] * speeds[None, :]
        return angles.cos(), angles.sin()

    @property
    def num_parameters(self) -> int:
        """Number of numbers that are learnt."""
        return sum(parameter.numel() for parameter in self.parameters())


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
