"""The interactive report: one description of it as plain data, and the page that shows it."""
