"""Vendors: pure translation between OpenAI's audio API and theirs. Nothing here does I/O."""
