"""Annotations out of the files that databases and people give away: one file a format, one registration in ``registry``."""
