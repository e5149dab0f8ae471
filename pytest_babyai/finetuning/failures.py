"""What can go wrong on the way from recorded episodes to a fine-tuned variant.

```
UsageError
├── DatasetError      no training data can be made of what was recorded, or a file is none
├── LeakageError      training and evaluation would share a seed or a layout
└── FineTuningError   a fine-tuning job could not be started, or did not end in a model
```
"""

from __future__ import annotations

from pytest_babyai.errors import UsageError


class DatasetError(UsageError):
    """No training data can be made of what was recorded, or a file is no training data."""


class LeakageError(UsageError):
    """Training and evaluation would share a seed or a layout."""


class FineTuningError(UsageError):
    """A fine-tuning job could not be started, or did not end in a model."""
