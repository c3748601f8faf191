"""How well relevance agrees with what is known to matter."""
