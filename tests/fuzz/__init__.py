"""Whatever comes in from outside, broken at random: `targets` says what must hold, `python -m tests.fuzz` searches."""
