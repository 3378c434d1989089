"""What a branch does: one module per op that has to wait for the model or for other branches."""
