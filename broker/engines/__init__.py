"""Engines that run services: how their files are written, and their maxima moved."""
