"""A run that begins with a campaign, and what the campaign came to."""
