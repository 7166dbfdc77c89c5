"""The text and the pictures out of markup: HTML pages and MediaWiki's wikitext."""
