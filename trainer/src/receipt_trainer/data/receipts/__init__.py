"""Where receipts come from and go to: the receipts table and JSON lines."""
