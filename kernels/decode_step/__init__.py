"""One step of the gaze decoder on the device: feed a group, choose the next."""
