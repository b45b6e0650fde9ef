"""Prediction: from pictures to masks and depths."""
