"""Measuring: what is compared, how, and what comes out of it."""
