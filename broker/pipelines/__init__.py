"""Pipelines that run: what tells versions of a stage apart, what was done, what is handed on."""
