"""Video in: files, folders of pictures and arrays, read by frame number and brought to one geometry."""
