"""Training: model, packing, run, metrics, checkpoints. Never talks to AWS."""
