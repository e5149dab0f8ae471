"""The offline model: an OpenAI-compatible server, a policy that reads only the prompt."""

from pytest_babyai.offline.process import OfflineServer

__all__ = ["OfflineServer"]
