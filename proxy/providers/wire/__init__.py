"""The building blocks of vendors' modules: requests, forms, events, errors, usage, transcripts."""
