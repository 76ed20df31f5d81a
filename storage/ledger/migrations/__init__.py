"""The history of the ledger's tables, applied by Alembic whenever a ledger is opened."""
