"""Success predictor: chance that a worker succeeds, from the text of a query."""
