"""The learning loop: data from recorded episodes, fine-tuning jobs, fine-tuned variants."""
