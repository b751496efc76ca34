"""One file a family of tests."""
