"""Registering, proving and promoting what passed."""
