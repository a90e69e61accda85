r"""Make emoji_1024.parquet again: pictures from a font, names from CLDR, groups from unicode-emoji-json.

    apt-get install fonts-noto-color-emoji
    npm pack cldr-annotations-full@48.2 unicode-emoji-json@0.9     # and unpack each
    python -m extractors.data.build_emoji_1024 \
        --font NotoColorEmoji.ttf --cldr FOLDER --emoji FOLDER --output new.parquet

Which emoji, and in which order, is fixed by emoji_1024.ids.txt: 1024 drawn from those that have an English name and a
glyph, without the variants "man X" and "woman X" of people. Ids, texts and groups come out the same; pictures, too,
to the byte, with the font of Debian 12 (2.042) and Pillow 13 (which needs its raqm layout engine for joined emoji).
"""

import argparse
import io
import json
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "de", "fr", "es", "ru", "ar", "hi", "ja", "zh", "sw")
STRIKE, CANVAS, SIZE = 109, 160, 72
"""The font's bitmaps are for 109 pixels; they are drawn amid 160 x 160, and stored at 72 x 72."""


def code_points(emoji: str) -> str:
    """The id of an emoji: its code points in hexadecimal, without variation selectors."""
    return "-".join(f"{ord(c):x}" for c in emoji if c != "\ufe0f")


def annotations(cldr: Path, language: str) -> dict[str, Any]:
    """CLDR's names and keywords by emoji, without variation selectors."""
    file = json.loads((cldr / "annotations" / language / "annotations.json").read_text())
    table = file["annotations"]["annotations"]
    return {emoji.replace("\ufe0f", ""): entry for emoji, entry in table.items()}


def captions(emoji: str, names: dict[str, dict[str, Any]]) -> list[str]:
    """English name with keywords, English name, then the name in the other languages."""
    plain = emoji.replace("\ufe0f", "")
    name = names["en"][plain]["tts"][0]
    keywords = [word for word in names["en"][plain].get("default", []) if word != name]
    others = [names[language][plain]["tts"][0] for language in LANGUAGES[1:]]
    return [f"{name}: {', '.join(keywords)}", name, *others]


def picture(emoji: str, font: Any) -> bytes:
    """The emoji on white as PNG, 72 x 72 in 128 colours."""
    from PIL import Image, ImageDraw

    canvas = Image.new("RGBA", (CANVAS, CANVAS), (255, 255, 255, 255))
    ImageDraw.Draw(canvas).text((CANVAS / 2, CANVAS / 2), emoji, font=font, anchor="mm", embedded_color=True)
    small = canvas.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.quantize(128).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Build the table from a font, CLDR and the groups of emoji."""
    import datasets
    from PIL import ImageFont

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--font", type=Path, required=True, help="NotoColorEmoji.ttf")
    parser.add_argument("--cldr", type=Path, required=True, help="the unpacked package cldr-annotations-full")
    parser.add_argument("--emoji", type=Path, required=True, help="the unpacked package unicode-emoji-json")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    groups = json.loads((args.emoji / "data-by-emoji.json").read_text())
    by_id = {code_points(emoji): emoji for emoji in groups}
    names = {language: annotations(args.cldr, language) for language in LANGUAGES}
    font = ImageFont.truetype(str(args.font), STRIKE, layout_engine=ImageFont.Layout.RAQM)
    rows = []
    for key in Path(__file__).with_name("emoji_1024.ids.txt").read_text().split():
        emoji = by_id[key]
        rows.append(
            {
                "id": key,
                "image": {"bytes": picture(emoji, font), "path": f"{key}.png"},
                "text": captions(emoji, names),
                "group": groups[emoji]["group"],
            }
        )
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "image": datasets.Image(),
            "text": datasets.List(datasets.Value("string")),
            "group": datasets.Value("string"),
        }
    )
    datasets.Dataset.from_list(rows, features=features).to_parquet(args.output)


if __name__ == "__main__":
    main()
