"""The cases of the contract suite, one module a vendor: each has ``CASES``."""
