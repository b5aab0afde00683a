"""Labelled words become normalised fields: amounts and dates, entities, documents."""
