"""The HTTP entrance: routes that translate, nothing else. ``app`` wires everything."""
