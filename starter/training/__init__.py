"""How the starter's models are trained: one module a stage, one loop for all of them."""
