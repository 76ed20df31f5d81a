"""Work of a shard: chunks, steps, and the writing of results."""
