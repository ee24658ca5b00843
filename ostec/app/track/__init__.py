"""Tracking on the command line."""
