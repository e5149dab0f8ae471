"""What a run came to, told: renderers yield lines, the edge writes them."""
