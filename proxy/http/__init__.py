"""The HTTP/1.1 client. It imports nothing else of this package and could be a distribution of its own."""
