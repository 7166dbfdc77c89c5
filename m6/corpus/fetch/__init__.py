"""Pictures from the web: one polite request at a time, and a ledger of what came of it."""
