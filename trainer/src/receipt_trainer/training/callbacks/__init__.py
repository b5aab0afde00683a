"""What happens around a training step, one callback a file."""
