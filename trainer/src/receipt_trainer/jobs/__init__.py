"""Rows of the jobs table. What asks AWS raises UserError and WorldError as `receipt_trainer.aws.clients.aws_faults`."""
