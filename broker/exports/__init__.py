"""The books in formats that other tools read: cost reports (FOCUS, OpenCost) and metrics.

Each is a function from the ledger's runs to rows, a document or a text.
"""
