"""Who may call, what a call costs, and what was used."""
