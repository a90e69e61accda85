"""Data sets that tests write themselves."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def png(image):
    """The bytes of a PIL image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(path, n=12, **columns):
    """A data set of n samples; columns given replace the default ones, None leaves a column out."""
    rng = np.random.default_rng(0)
    pictures = [
        {"bytes": png(Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))), "path": None} for _ in range(n)
    ]
    table = {
        "id": [f"s{i}" for i in range(n)],
        "image": pictures,
        "text": [[f"text {i}", f"other {i}"] for i in range(n)],
    }
    table |= columns
    pq.write_table(pa.table({name: values for name, values in table.items() if values is not None}), path)
    return str(path)
