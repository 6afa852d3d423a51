"""A cluster that runs already, of which only the addresses are known."""
