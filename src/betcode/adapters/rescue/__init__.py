"""Getting back what a damaged database held, from everything that is left."""
