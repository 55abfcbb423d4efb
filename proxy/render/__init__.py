"""Results as OpenAI's API writes them: JSON, text, subtitles, server-sent events. Used by the entrances only."""
