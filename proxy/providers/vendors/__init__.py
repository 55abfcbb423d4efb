"""One module a vendor; those that speak OpenAI's API are rows of ``rows``."""
