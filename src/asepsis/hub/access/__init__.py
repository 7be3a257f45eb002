"""Who may do what: one decision table, and the people who hold bearer tokens."""
