"""TensorZero: its configuration and its client."""
