"""What every layer shares: errors, explicit randomness, whole-or-nothing files, the batch type."""
