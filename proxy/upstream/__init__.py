"""The only vendor I/O."""
