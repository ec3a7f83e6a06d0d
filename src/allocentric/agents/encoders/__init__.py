"""What turns pictures into vectors, one file per encoder."""
