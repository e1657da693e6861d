"""Side-by-side timings, each with its peer in the same run."""
