"""Raw data to clean shards, on Daft. No torch here."""
