"""Pools of workers: launch template, Auto Scaling group, scaling, user data."""
