"""Speed of the projection, measured: against a plain reference of the published one, and over sizes."""
