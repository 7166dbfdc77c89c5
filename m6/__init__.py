"""Open M6: from raw Chinese web data to a model that reads pictures, answers, writes poems and paints."""

__version__ = "0.1.0"

from m6.interop.registration import when_imported

when_imported()
