"""Training: settings, data order, schedules, algorithms, the trainer, checkpoints and logs."""
