"""Playing: which episodes start, in which order, and when there is enough."""
