"""An OpenAI-compatible audio proxy: speech, transcription and translation behind one API."""
