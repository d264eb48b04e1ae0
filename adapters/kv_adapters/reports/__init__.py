"""What a comparison found, as a page and pictures."""
