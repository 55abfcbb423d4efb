"""Audio: formats by their bytes, transcripts, and the confined processes that read, write and change sound."""
