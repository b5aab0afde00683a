"""Sweeps: many jobs that differ in chosen hyperparameters, compared by their scores."""
