"""Where receipts come from: JSON lines and DynamoDB tables."""
