"""Drawn people with exact truth: what no camera can give."""
