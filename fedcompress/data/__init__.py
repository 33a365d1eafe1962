"""Data sets by name, their partition over clients, and one run's view of both."""
