"""What tells this program's JSON files apart from others: the value of ``kind``."""

RESULT = "ostec result"
"""In every ``NAME.json`` of a result of ``ostec complete``."""
