"""What keeps it running: health, doctor."""
