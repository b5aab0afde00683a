"""How answers are judged: every score is a share of hits in a total, kept for each document and summed over all."""
