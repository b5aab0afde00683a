"""Reading without torch: model packages by onnxruntime, words of pages by OCR."""
