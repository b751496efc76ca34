"""What a hypothesis is."""
