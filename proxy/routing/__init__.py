"""Which deployments serve a call, and in which order they are tried."""
