"""Local engines, mounted at ``local://``: espeak-ng for speech, PocketSphinx for English transcription.

They are only for evaluation and tests. Each runs in its own processes; the proxy never loads their libraries.
"""
