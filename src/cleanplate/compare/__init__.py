"""Runs side by side: figures, ranking, curves, predictions and recipes."""
