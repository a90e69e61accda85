"""Pictures decoded as a person sees them: turned upright, with their whole range of greys, on white."""

import io
import warnings
from pathlib import Path
from typing import Any

from prh_jax.stores.location import local_path

DECODED = "upright by EXIF orientation; transparency on white; 16-bit grey by its high byte"
"""How pictures are decoded, for records: change it with the code."""


def stored_bytes(picture: Any) -> bytes | None:
    """The encoded picture (sound, clip) of a row, from its bytes or its file; None where there is neither.

    Parameters
    ----------
    picture
        Bytes, a path or URL, a dict with `bytes` or `path` (as `datasets` has it), or None.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(picture, dict) and {"bytes", "path"} & set(picture):
        picture = picture["bytes"] if picture.get("bytes") is not None else picture.get("path")
    if isinstance(picture, str):
        picture = local_path(picture) or picture
        if "://" in picture:
            import fsspec

            try:
                with fsspec.open(picture, "rb") as file:
                    return file.read()  # type: ignore[union-attr]
            except (OSError, ValueError, ImportError) as error:
                raise OSError(f"nothing can be read at {picture} ({type(error).__name__}: {error})") from error
        return Path(picture).read_bytes() if Path(picture).is_file() else None
    if picture is None or isinstance(picture, bytes):
        return picture
    raise TypeError(
        f"it is a value of type {type(picture).__name__}, and an encoded file, or the path or URL of one, is read"
    )


def decode(picture: Any) -> Any:
    """A PIL image as it is stored, turned upright; ValueError where there is none."""
    from PIL import Image, ImageOps

    stored = stored_bytes(picture)
    if stored is None:
        raise ValueError(f"there is no file {picture}" if isinstance(picture, str) else "there is none")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(stored))
        if _is_negative(image):
            image.info[_NEGATIVE] = True
        image.load()
    return ImageOps.exif_transpose(image)


def kind_of(stored: bytes | None) -> str:
    """Kind of an encoded picture, and how `decode` and `as_rgb` make it a picture in RGB, from its header alone."""
    from PIL import Image

    if stored is None:
        return "missing"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes and metadata: decoding says it
            image = Image.open(io.BytesIO(stored))
            turned = image.getexif().get(0x0112, 1) != 1
            frames = getattr(image, "is_animated", False)
    except Exception:  # PIL raises many kinds for damaged files
        return "unreadable"
    notes = [image.mode]
    if image.mode.startswith("I"):
        notes.append("high byte, 0 is white" if _is_negative(image) else "high byte")
    elif image.mode == "F":
        notes.append("0 to 1 scaled to 255")
    if _has_transparency(image):
        notes.append("on white")
    notes += ["turned upright"] * turned + ["first frame"] * frames
    return f"{image.format} " + ", ".join(notes)


_NEGATIVE = "0 is white"


def _is_negative(image: Any) -> bool:
    """Whether 0 is white in a deep TIFF: Pillow turns those of 8 bits alone."""
    return image.mode.startswith("I") and getattr(image, "tag_v2", {}).get(262) == 0


def _has_transparency(image: Any) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def as_rgb(image: Any) -> Any:
    """A PIL image in RGB: transparent ones composited on white, deep greys scaled, the others converted.

    Grey of 16 bits is scaled by its range, and grey of floats in [0, 1] by 255.

    Raises
    ------
    ValueError
        For grey of 32 bits or of floats of another range, and for grey of 16 bits that has the values of 8: what is
        black and what is white is not known.
    """
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        clear = image.info.get("transparency")
        image, deep = _shallow(image), image
        if clear is None:
            return image.convert("RGB")
        return Image.composite(Image.new("RGB", image.size, "white"), image.convert("RGB"), _equal_to(deep, clear))
    if _has_transparency(image):
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _equal_to(image: Any, grey: int) -> Any:
    """A mask of the pixels that have a deep grey, which the file declares to be transparent."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.asarray(image) == grey)


def _shallow(image: Any) -> Any:
    """Grey of 8 bits, from deeper grey."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"its greys are floats from {low:g} to {high:g}, and only 0 to 1 has a known black and white: store it "
                "with 8 or 16 bits"
            )
        return Image.fromarray((values * 255 + 0.5).astype(np.uint8))
    if not (low >= 0 and high < 2**16):
        raise ValueError(
            f"its greys are whole numbers of 32 bits from {low} to {high}, and what is black and white is not known: "
            "store it with 8 or 16 bits"
        )
    if low < high < 2**8:
        raise ValueError(
            f"its greys of 16 bits or more are {low} to {high} alone, which would all be black: store it with 8 bits"
        )
    shallow = (values >> 8).astype(np.uint8)
    return Image.fromarray(255 - shallow if image.info.get(_NEGATIVE) else shallow)
