"""The worker pools seen and steered from a laptop; what asks AWS raises as `receipt_trainer.aws.clients.aws_faults`."""
