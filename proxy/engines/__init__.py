"""Engines on this machine, mounted at ``local://``: espeak-ng for speech, pocketsphinx for English transcription.

For trying out and for tests. Each runs in processes of its own; nothing of them is loaded into the proxy.
"""
