"""Audio: format detection, durations, languages, and the sandboxed processes that decode and encode it."""
