"""Training: the step, the run folder, and what is written down after each epoch."""
