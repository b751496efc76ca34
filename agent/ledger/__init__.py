"""The ledger: every registration, attempt, result and verdict, chained so that an edit shows.

``records`` holds the entry types and imports nothing heavy; ``store`` writes and reads, ``verify`` checks, ``export``
hands the rows to other programs. Import those where they are used: they load SQLAlchemy.
"""
