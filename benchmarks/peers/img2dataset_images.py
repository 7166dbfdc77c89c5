"""img2dataset on local pictures, for `benchmarks.images`: runs in an environment of its own.

    python img2dataset_images.py LIST OUT

LIST is a text file with a path a line. The work of one of its processes: read each picture by its file:// address,
decode, rules, bring to a square on white, encode as JPEG, write Parquet into OUT. Its hash of the bytes and its table
of EXIF are off, as this project makes neither; its rules for size and aspect are set to those of this project.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks the network for a newer version otherwise

import pyarrow as pa
from img2dataset.downloader import Downloader
from img2dataset.resizer import Resizer
from img2dataset.writer import ParquetSampleWriter
from serve import serve

SIZE, QUALITY = 256, 90  # as in benchmarks/images.py
THREADS = 4  # that read files: the quickest of 1, 4, 16 and 256, its default


def main(paths: list[str], out: Path) -> None:
    """Answer every line on standard input with one run over all pictures."""
    table = pa.table({"url": [f"file://{path}" for path in paths]})
    shard = out / "list.arrow"
    resizer = Resizer(
        image_size=SIZE,
        resize_mode="border",
        resize_only_if_bigger=False,
        encode_quality=QUALITY,
        min_image_size=71,  # 71 x 71 are 5,041 pixels
        max_image_area=30_000_000,
        max_aspect_ratio=5.0,
    )
    downloader = Downloader(
        sample_writer_class=ParquetSampleWriter,
        resizer=resizer,
        thread_count=THREADS,
        save_caption=False,
        extract_exif=False,
        output_folder=str(out),
        column_list=["url"],
        timeout=10,
        number_sample_per_shard=max(2, len(paths)),
        oom_shard_count=5,
        compute_hash=None,
        verify_hash_type=None,
        encode_format="jpg",
        retries=0,
        user_agent_token=None,
        disallowed_header_directives=None,
    )

    def before() -> None:  # it deletes its list when it is done
        with pa.OSFile(str(shard), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    def work() -> int:
        downloader.download_shard((0, str(shard)))
        return int(json.loads((out / "00000_stats.json").read_text())["successes"])

    serve(work, before)


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines(), Path(sys.argv[2]))
