"""Evaluates LLM agents on BabyAI-Text as pytest items, through the TensorZero gateway."""

from pytest_babyai.records import Episode, EpisodeFailure, EpisodeResult, EpisodeSpec, Step, Usage

__all__ = ["Episode", "EpisodeFailure", "EpisodeResult", "EpisodeSpec", "Step", "Usage"]
