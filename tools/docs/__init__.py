"""The pages under docs/ that are made from the code: one module a page, each a function that returns the text."""
