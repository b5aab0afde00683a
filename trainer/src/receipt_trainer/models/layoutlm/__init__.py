"""LayoutLM: words and boxes in, a label for each word out."""
