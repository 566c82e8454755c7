"""What made the shipped models, from nothing."""
