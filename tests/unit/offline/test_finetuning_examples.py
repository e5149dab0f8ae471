from __future__ import annotations

import json

import pytest

from pytest_babyai.offline.finetuning.chats import (
    ExamplesError,
    count_example_tokens,
    read_examples,
    require_enough,
    split,
)
from pytest_babyai.offline.prompt import Message
from tests.unit.offline.finetuning_samples import as_json_lines, chats

GOOD = (
    b'{"messages": [{"role": "user", "content": "hen?"}, {"role": "assistant", "content": "yes"}]}'
)


def test_chats_come_back_as_they_were_written() -> None:
    assert read_examples(as_json_lines(chats()), "file-1") == chats()


def test_blank_lines_are_no_chats() -> None:
    assert len(read_examples(b"\n" + GOOD + b"\r\n\n" + GOOD + b"\n", "file-1")) == 2


def test_a_content_of_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "a hen"}, {"type": "text", "text": "a cat"}]
    asked = {"role": "user", "content": parts}
    line = json.dumps({"messages": [asked, {"role": "assistant", "content": "two"}]})
    [example] = read_examples(line.encode(), "file-1")
    assert example.messages == (Message("user", "a hen\na cat"),)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"messages": [', "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"messages": []}', "Expected `array` of length >= 1 - at `$.messages`"),
        (
            b'{"messages": [{"role": "pirate", "content": "x"}]}',
            "Invalid enum value 'pirate' - at `$.messages[0].role`",
        ),
        (
            b'{"messages": [{"role": "user", "content": 3}]}',
            "got `int` - at `$.messages[0].content`",
        ),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "not the user's"),
        (b'{"messages": [{"role": "assistant", "content": "x"}]}', "no message before the answer"),
        (
            b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant"}]}',
            "the answer is empty",
        ),
    ],
)
def test_a_line_that_is_no_chat_is_named(line: bytes, reason: str) -> None:
    with pytest.raises(ExamplesError) as caught:
        read_examples(GOOD + b"\n\n" + line, "file-1")
    assert "file-1, line 3: " in str(caught.value)
    assert reason in str(caught.value)
    assert (caught.value.code, caught.value.param) == ("invalid_file_format", "training_file")


def test_ten_chats_are_enough_and_nine_are_not() -> None:
    require_enough(chats()[:10], "file-1")
    with pytest.raises(ExamplesError, match="file-1 has 9 examples, but must have at least 10"):
        require_enough(chats()[:9], "file-1")


def test_a_share_is_kept_back_without_loss() -> None:
    learnt, kept = split(chats(), 0.1)
    assert len(kept) == 18
    assert sorted(learnt + kept) == sorted(chats())


def test_the_same_prompt_is_never_on_both_sides() -> None:
    learnt, kept = split([*chats(), *chats()], 0.1)
    assert not {item.messages for item in learnt} & {item.messages for item in kept}


def test_something_is_always_kept_back_and_something_learnt() -> None:
    learnt, kept = split(chats()[:2], 0.001)
    assert (len(learnt), len(kept)) == (1, 1)


def test_where_all_prompts_are_alike_the_same_chats_are_learnt_and_measured() -> None:
    learnt, kept = split([chats()[0]] * 12, 0.05)
    assert learnt == kept == [chats()[0]] * 12


def test_tokens_are_counted_as_those_of_answers_are() -> None:
    [example] = read_examples(GOOD, "file-1")
    assert count_example_tokens([example, example]) == 2 * (2 + 4 + 3 + 1)
