"""What is kept outside of a call: temporary files."""
