"""All that is done with an adapter once it exists."""
