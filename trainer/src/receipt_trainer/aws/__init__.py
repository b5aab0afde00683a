"""AWS clients, paging and the artifact sync."""
