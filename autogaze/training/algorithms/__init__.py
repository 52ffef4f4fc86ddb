"""What is minimised: one module for each way of training."""
