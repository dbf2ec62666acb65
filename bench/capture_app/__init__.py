"""One model, watched in each way."""
