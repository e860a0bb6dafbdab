"""Reading a bundle, and making clips with it."""
