"""The pixels of chosen patches, straight from the frames."""
