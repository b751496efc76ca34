"""What each `screen` sub-command reads, calls and prints: the thin edge between the terminal and the loop."""
