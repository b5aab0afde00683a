"""First boots of instances, for real: cloud-init, systemd as PID 1, pip, the AWS CLI, and no network."""
