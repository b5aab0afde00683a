"""Pages of documents: images, TIFFs and PDFs opened as upright 8-bit RGB images."""
