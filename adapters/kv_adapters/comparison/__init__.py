"""Runs joined document by document, differences with intervals, and a verdict."""
