"""Monitoring of the stack: logs, alarms, dashboard, the function that ends silent instances."""
