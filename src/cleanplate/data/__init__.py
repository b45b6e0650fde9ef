"""Data sets: made, read, checked, measured, split and served in batches."""
