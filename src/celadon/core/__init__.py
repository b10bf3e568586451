"""Everything that chooses, and nothing that acts. Start with `decide`."""
