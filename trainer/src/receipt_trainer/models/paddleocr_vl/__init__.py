"""The second model family: PaddleOCR-VL reads the image of a document and writes JSON."""
