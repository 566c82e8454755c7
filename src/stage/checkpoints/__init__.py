"""Our own format, and the names that other projects give to the same weights."""
