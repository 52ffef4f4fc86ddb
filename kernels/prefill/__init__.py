"""The beginning of a frame of the gaze decoder on the device: feed it, choose its first group."""
