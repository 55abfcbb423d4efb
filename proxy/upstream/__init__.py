"""Runs the flows of vendors. All I/O with vendors happens here and in the transports that it is given."""
