"""Raw data to clean shards, on Daft. No torch here.

    sources/      one file a kind of raw data, made of what read/ (files, records) and extract/ (HTML, wikitext) offer
    clean.py      a part of a source -> text/, pairs.py, fetch/, images/: the rules -> what stays
    dedup/        what of it is there twice, or in an evaluation set
    write.py      shards
    report/       what was dropped and what is left

`pipeline.py` runs these as pieces of work that `engine.py` gives to workers; `check.py` looks at some records first.
"""
