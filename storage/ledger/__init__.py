"""The ledger: repositories on one SQL database, and leases."""
