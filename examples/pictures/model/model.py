"""Pictures by numpy and Pillow: a thumbnail, the main colours, how sharp it is, and a hash that alike pictures share.

Pictures of several callers are decoded one by one and computed together, as arrays of one shape.
"""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, Field

from colonnade.packages.batching import batched

SIDE = 256
"""Pixels that everything but the thumbnail is computed on."""
MOST_PIXELS = 50_000_000
STEP = 64
"""Colours are counted in cubes of this side."""


class Asked(BaseModel):
    """`picture`: a PNG, JPEG or WebP file in base64."""

    picture: str
    side: int = Field(default=64, ge=8, le=512)
    colours: int = Field(default=3, ge=1, le=8)


class Told(BaseModel):
    """`thumbnail`: a PNG in base64; `colours`: the commonest first; `sharpness`: the variance of the Laplacian, about
    0 for a plane; `likeness`: 64 bits in hex, which differ in few bits between pictures that look alike."""

    width: int
    height: int
    thumbnail: str
    colours: list[str]
    sharpness: float
    likeness: str


class Model:
    @batched(max_batch_size=16, max_wait=0.005)
    def predict(self, inputs: list[Asked]) -> list[Told]:
        """An item that is no picture is an error for its caller alone."""
        opened = [_opened(each.picture) for each in inputs]
        well = [each for each in opened if isinstance(each, Image.Image)]
        seen_BHWC = np.stack([np.asarray(each.resize((SIDE, SIDE))) for each in well]) if well else np.empty(0)
        measured = iter(zip(well, seen_BHWC, sharpness(seen_BHWC), likeness(seen_BHWC), strict=True) if well else ())
        return [
            each if isinstance(each, Exception) else _told(asked, *next(measured))
            for asked, each in zip(inputs, opened, strict=True)
        ]


def _opened(encoded: str) -> Image.Image | Exception:
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)), formats=("PNG", "JPEG", "WEBP"))
        if picture.width * picture.height > MOST_PIXELS:
            return refused(f"{picture.width} by {picture.height} pixels are too many")
        return picture.convert("RGB")
    except (binascii.Error, UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        return refused(f"no picture: {error}")


def refused(said: str) -> Exception:
    from starlette.exceptions import HTTPException

    return HTTPException(400, said)


def _told(asked: Asked, picture: Image.Image, seen_HWC: NDArray[np.uint8], sharp: float, alike: int) -> Told:
    small = picture.copy()
    small.thumbnail((asked.side, asked.side))
    out = io.BytesIO()
    small.save(out, "PNG")
    return Told(
        width=picture.width,
        height=picture.height,
        thumbnail=base64.b64encode(out.getvalue()).decode(),
        colours=colours(seen_HWC, asked.colours),
        sharpness=round(float(sharp), 3),
        likeness=f"{alike:016x}",
    )


def colours(seen_HWC: NDArray[np.uint8], most: int) -> list[str]:
    """The means of the fullest cubes of colour."""
    pixels_NC = seen_HWC.reshape(-1, 3).astype(np.int64)
    cubes_N = (pixels_NC // STEP) @ np.array([1, 8, 64])
    counts_K = np.bincount(cubes_N, minlength=512)
    fullest = [cube for cube in np.argsort(-counts_K, kind="stable")[:most] if counts_K[cube]]
    means = [pixels_NC[cubes_N == cube].mean(axis=0).round().astype(int) for cube in fullest]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in means]


def _grey(seen_BHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    return seen_BHWC @ np.array([0.299, 0.587, 0.114])


def sharpness(seen_BHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey_BHW = _grey(seen_BHWC)
    around = grey_BHW[:, :-2, 1:-1] + grey_BHW[:, 2:, 1:-1] + grey_BHW[:, 1:-1, :-2] + grey_BHW[:, 1:-1, 2:]
    return (around - 4 * grey_BHW[:, 1:-1, 1:-1]).var(axis=(1, 2))


def likeness(seen_BHWC: NDArray[np.uint8]) -> list[int]:
    """Of means over 8 rows by 9 columns: whether each is brighter than its neighbour to the right."""
    grey_BHW = _grey(seen_BHWC)[:, :, : 9 * (SIDE // 9)]
    cells_BRC = grey_BHW.reshape(len(grey_BHW), 8, SIDE // 8, 9, SIDE // 9).mean(axis=(2, 4))
    bits_BN = (cells_BRC[:, :, :-1] > cells_BRC[:, :, 1:]).reshape(-1, 64)
    return [int.from_bytes(np.packbits(each).tobytes()) for each in bits_BN]
