"""Importers: public formats of routing tables, plans and agent runs, turned into our own."""
