"""Presets and tables of the experiments; thin, all else is in the package."""
