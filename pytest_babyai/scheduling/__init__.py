"""When a variant is known precisely enough to start no more of its episodes."""
