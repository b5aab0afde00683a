"""Pictures of documents: opened in one place, upright and in RGB."""
