"""Steps that compute next to nothing, recipes of them, and plain interpreters to compare results with."""
