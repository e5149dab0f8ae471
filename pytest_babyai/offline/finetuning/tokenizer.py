"""A tokenizer that is learned from the chats and swallows what they have in common.

Byte-pair encoding (Gage 1994; Sennrich, Haddow and Birch 2016), with differences that fit prompts
made from templates. Merges start from words, not from letters, and go across blanks, so that a
phrase that keeps coming back is one token. Yet only such words are merged of which one hardly ever
comes without the other: what a template's blanks are filled with stays in words, the same ones
wherever they come up, so that the network can tell like from like. And a system message that many
chats share is one token.

Words that were not seen in training are spelt in bytes: every text can be encoded and comes back
as it was.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from pytest_babyai.offline.chat import ROLES
from pytest_babyai.offline.prompt import INSTRUCTING_ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_babyai.offline.prompt import Message

PAD = 0
END = 1
_FIRST_ROLE = 2
_FIRST_BYTE = _FIRST_ROLE + len(ROLES)
_FIRST_UNIT = _FIRST_BYTE + 256

_WORD = re.compile(r" ?[^\W\d_]+| ?\d| ?(?:[^\w\s]|_)+|\n|[^\S\n]+")

Pair = tuple[int, int]


class Tokenizer:
    """Texts to token ids and back.

    Args:
        words: Words with a token of their own.
        merges: Pairs of ids that make one token, the first to be merged first.
        shared: Whole messages that are one token.
    """

    def __init__(self, words: Sequence[str], merges: Sequence[Pair], shared: Sequence[str]) -> None:
        self._words = list(words)
        self._merges = list(merges)
        self._shared = list(shared)
        first_merge = _FIRST_UNIT + len(words)
        first_shared = first_merge + len(merges)
        self._id_of_word = {word: _FIRST_UNIT + index for index, word in enumerate(words)}
        self._id_of_merge = {pair: first_merge + index for index, pair in enumerate(merges)}
        self._id_of_shared = {text: first_shared + index for index, text in enumerate(shared)}
        self._bytes = self._spell()
        self._lines: dict[str, tuple[int, ...]] = {}

    @property
    def size(self) -> int:
        """Number of token ids."""
        return len(self._bytes)

    def _spell(self) -> list[bytes]:
        spelt = [b""] * _FIRST_BYTE + [bytes([value]) for value in range(256)]
        spelt += [_encoded(word) for word in self._words]
        for left, right in self._merges:
            spelt.append(spelt[left] + spelt[right])
        return spelt + [_encoded(text) for text in self._shared]

    def encode(self, text: str) -> list[int]:
        """Returns a text's tokens."""
        ids: list[int] = []
        for line in text.splitlines(keepends=True) if "\n" in text else (text,):
            known = self._lines.get(line)
            if known is None:
                known = tuple(self._encode_line(line))
                if len(self._lines) < 2**16:
                    self._lines[line] = known
            ids += known
        return ids

    def encode_message(self, message: Message) -> list[int]:
        """Returns a message's tokens: its role and its text."""
        role = _FIRST_ROLE + ROLES.index(message.role)
        shared = self._id_of_shared.get(message.text)
        return [role, shared] if shared is not None else [role, *self.encode(message.text)]

    def encode_prompt(self, messages: Iterable[Message]) -> list[int]:
        """Returns a prompt's tokens; the last one opens the answer."""
        ids = [token for message in messages for token in self.encode_message(message)]
        return [*ids, _FIRST_ROLE + ROLES.index("assistant")]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of tokens; bytes that are no text become replacement characters."""
        spelt = b"".join(self._bytes[token] for token in ids)
        try:
            return spelt.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return spelt.decode("utf-8", "replace")

    def _encode_line(self, line: str) -> list[int]:
        ids: list[int] = []
        for word in _WORD.findall(line):
            known = self._id_of_word.get(word)
            ids += (known,) if known is not None else (_FIRST_BYTE + b for b in _encoded(word))
        while len(ids) > 1:
            ranks = [self._id_of_merge.get(pair, -1) for pair in itertools.pairwise(ids)]
            earliest = min((rank for rank in ranks if rank >= 0), default=-1)
            if earliest < 0:
                break
            ids = _merge(ids, self._merges[earliest - _FIRST_UNIT - len(self._words)], earliest)
        return ids

    def to_json(self) -> dict[str, Any]:
        """Returns what `from_json` makes the same tokenizer of."""
        return {"words": self._words, "merges": self._merges, "shared": self._shared}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Tokenizer:
        """Returns the tokenizer that `to_json` described."""
        merges = [(left, right) for left, right in value["merges"]]
        return cls(value["words"], merges, value["shared"])


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _merge(ids: list[int], pair: Pair, merged: int) -> list[int]:
    left, right = pair
    result = []
    index = 0
    while index < len(ids):
        if ids[index] == left and index + 1 < len(ids) and ids[index + 1] == right:
            result.append(merged)
            index += 2
        else:
            result.append(ids[index])
            index += 1
    return result


def shorten(prompt: list[int], max_length: int) -> list[int]:
    """Cuts tokens out of a prompt that is too long.

    The first quarter of what is kept is the prompt's beginning, where the task is told, and the
    rest its end, where the latest events are.
    """
    if len(prompt) <= max_length:
        return prompt
    num_first = max_length // 4
    return prompt[:num_first] + prompt[num_first - max_length :]


def learn_tokenizer(
    prompts: Sequence[Sequence[Message]],
    answers: Sequence[str],
    *,
    min_share: float = 0.05,
    min_certainty: float = 0.9,
    max_merges: int = 4096,
) -> Tokenizer:
    """Learns a tokenizer from chats.

    Args:
        prompts: The chats' prompts.
        answers: Their answers.
        min_share: How often a phrase has to come up to be a token, as a share of the number of
            chats. A lower share makes fewer and longer tokens a text, each seen less often.
        min_certainty: How surely one part of a phrase brings the other, from 0 to 1.
        max_merges: Most phrases that become tokens.
    """
    min_count = max(2, round(min_share * len(answers)))
    messages = Counter(message.text for prompt in prompts for message in prompt)
    system = {m.text for prompt in prompts for m in prompt if m.role in INSTRUCTING_ROLES}
    shared = sorted(text for text in system if text and messages[text] >= min_count)
    lines: Counter[str] = Counter()
    for text, count in [*messages.items(), *Counter(answers).items()]:
        for line in text.splitlines(keepends=True) if text not in shared else ():
            lines[line] += count
    words = Counter[str]()
    for line, count in [*lines.items(), *((text, 2) for text in shared)]:
        for word in _WORD.findall(line):
            words[word] += count
    known = sorted(word for word, count in words.items() if count >= 2)  # noqa: PLR2004
    merges = _Merging(Tokenizer(known, (), ()), lines, min_count, min_certainty).learn(max_merges)
    return Tokenizer(known, merges, shared)


class _Merging:
    """Finds the most frequent pair of neighbours that belong together, merges it, and so on."""

    def __init__(
        self, speller: Tokenizer, lines: Counter[str], min_count: int, min_certainty: float
    ) -> None:
        self._next_id = speller.size
        self._min_count = min_count
        self._min_certainty = min_certainty
        self._lines = [(speller.encode(line), count) for line, count in sorted(lines.items())]
        self._counts: Counter[Pair] = Counter()
        self._distinct_pairs: Counter[Pair] = Counter()
        self._distinct: Counter[int] = Counter()
        self._places: defaultdict[Pair, set[int]] = defaultdict(set)
        for index in range(len(self._lines)):
            self._count(index, 1)

    def _count(self, index: int, sign: int) -> None:
        ids, count = self._lines[index]
        for token in ids:
            self._distinct[token] += sign
        for pair in itertools.pairwise(ids):
            self._counts[pair] += sign * count
            self._distinct_pairs[pair] += sign
            if sign > 0:
                self._places[pair].add(index)

    def learn(self, max_merges: int) -> list[Pair]:
        merges: list[Pair] = []
        while len(merges) < max_merges:
            fit = (pair for pair in self._counts if self._belong_together(pair))
            pair = max(fit, key=lambda pair: (self._counts[pair], pair), default=None)
            if pair is None:
                break
            for index in self._places.pop(pair):
                self._count(index, -1)
                ids, times = self._lines[index]
                self._lines[index] = (_merge(ids, pair, self._next_id), times)
                self._count(index, 1)
            del self._counts[pair]
            merges.append(pair)
            self._next_id += 1
        return merges

    def _belong_together(self, pair: Pair) -> bool:
        """Tells whether a pair is frequent, and one of the two hardly ever without the other.

        For that every line counts once: what is said once in thousands of prompts is no more
        certain to go on in the same way than what is said in one.
        """
        if self._counts[pair] < self._min_count:
            return False
        rarer = min(self._distinct[pair[0]], self._distinct[pair[1]])
        return self._distinct_pairs[pair] >= self._min_certainty * rarer
