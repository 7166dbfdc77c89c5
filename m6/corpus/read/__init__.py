"""Raw files, read as streams: how they are found and opened, what encoding they are in, which records stand in them."""
