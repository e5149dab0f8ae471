"""The evaluation suite: every variant plays every task on every seed.

Copy this file and make it yours. `config/babyai.yml` says what is played by default; arguments of
the marker, such as ``@pytest.mark.babyai(tasks=["goto"], episodes=50)``, say it for one test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_babyai import Episode


@pytest.mark.babyai
@pytest.mark.asyncio(loop_scope="module")
async def test_episode(babyai_episode: Episode) -> None:
    """One episode; the plugin compares its progression with the threshold."""
    result = await babyai_episode

    # Checks of your own go here: whatever must hold for every episode, solved or not.
    assert 1 <= result.num_steps <= result.max_steps
