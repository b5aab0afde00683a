"""The VPC: subnets, endpoints, security groups."""
