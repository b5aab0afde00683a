"""Receipts in a DynamoDB table."""
