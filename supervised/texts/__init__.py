"""Texts: an encoder and embeddings of them, their form, and which nearly say the same."""
