"""How answers look: tables, screens, lines and JSON."""
