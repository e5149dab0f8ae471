from __future__ import annotations

from pytest_babyai.playing.ordering import model_seed


def test_the_seed_is_the_same_everywhere() -> None:
    # A journal that is resumed on another machine, or years later, relies on these.
    assert [model_seed(200, "goto", repeat) for repeat in range(2)] == [2019307480, 2019307481]
    assert model_seed(201, "open", 0) == 1699948054


def test_repeats_of_an_episode_all_differ() -> None:
    assert len({model_seed(200, "goto", repeat) for repeat in range(1_000)}) == 1_000


def test_seeds_of_a_usual_run_all_differ() -> None:
    tasks = ("goto", "pickup", "open", "putnext", "pick_up_seq_go_to")
    seeds = [
        model_seed(seed, task, repeat)
        for seed in range(200, 220)
        for task in tasks
        for repeat in range(10)
    ]

    assert len(set(seeds)) == len(seeds)


def test_seeds_fit_into_signed_32_bits() -> None:
    seeds = [model_seed(seed, "goto", repeat) for seed in range(500) for repeat in range(3)]

    assert min(seeds) >= 0
    assert max(seeds) < 2**31
