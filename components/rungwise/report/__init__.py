"""What people read of a climb."""
