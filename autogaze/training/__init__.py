"""What a training run is made of: settings, the order of the data, schedules, checkpoints, logs."""
