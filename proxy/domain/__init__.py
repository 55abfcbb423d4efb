"""The nouns that all layers share: requests, transcripts, usage, calls. Nothing here imports another layer."""
