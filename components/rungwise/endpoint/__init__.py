"""A model behind an address: the client, what the incumbent is asked, and how its answers are read and kept."""
