"""What vendors' modules are made of: requests, forms, events, errors, usage, transcripts."""
