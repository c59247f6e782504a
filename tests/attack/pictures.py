"""Pictures of every kind, honest and hostile, with the pixels that a reader other than ours finds in them."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIDE = 160
"""The model's input: pictures of this size reach it pixel by pixel."""
MAX_PIXELS = 20_000_000
Pixels = NDArray[np.uint8]

OK = frozenset({200})
UNREADABLE = frozenset({400})
TOO_LARGE = frozenset({413})
REFUSED = frozenset({400, 413})


@dataclass(frozen=True)
class Sample:
    """One file; `pixels` is None where no answer is expected, `within` how far a decoder of losses may be off on average."""

    name: str
    data: bytes
    pixels: Pixels | None = None
    within: float = 0.0
    statuses: frozenset[int] = OK


def scene(channels: int = 3) -> Pixels:
    """Smooth, and different in every corner and channel."""
    y, x = np.mgrid[:SIDE, :SIDE]
    planes = [(x * (1 + c % 2) // 2 + y * (2 + c) // 4) % 256 for c in range(channels)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def save(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, depth: int, colour: int, data: bytes, *extra: bytes, interlaced: bool = False
) -> bytes:
    """A PNG file around uncompressed scan lines."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    return (
        b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    )


def lines(rows: NDArray[np.generic]) -> bytes:
    """Rows with a filter byte before each."""
    return b"".join(b"\0" + row.tobytes() for row in rows)


def honest() -> Iterator[Sample]:
    """Kinds that must be answered, with their right pixels."""
    rgb, grey, alpha = scene(), scene(1)[..., 0], scene(4)
    high = rgb.astype(np.uint16) << 8 | 0x7F
    yield Sample("RGB PNG", save(Image.fromarray(rgb), "PNG"), rgb)
    yield Sample("RGB BMP", save(Image.fromarray(rgb), "BMP"), rgb)
    yield Sample("lossless WebP", save(Image.fromarray(rgb), "WEBP", lossless=True), rgb)
    yield Sample("grey PNG", save(Image.fromarray(grey), "PNG"), _grey(grey))
    yield Sample("grey and alpha", save(Image.merge("LA", [Image.fromarray(grey)] * 2), "PNG"), _grey(grey))
    yield Sample("alpha is dropped", save(Image.fromarray(alpha), "PNG"), alpha[..., :3])
    yield Sample("1 bit", save(Image.fromarray(grey > 100), "PNG"), _grey((grey > 100).astype(np.uint8) * 255))
    yield Sample("16 bits, grey", png(SIDE, SIDE, 16, 0, lines(high[..., 0].astype(">u2"))), _grey(rgb[..., 0]))
    yield Sample("16 bits, colour", png(SIDE, SIDE, 16, 2, lines(high.astype(">u2"))), rgb)
    yield Sample("interlaced", png(SIDE, SIDE, 8, 2, _adam7(rgb), interlaced=True), rgb)
    palette = Image.fromarray(rgb).quantize(60)
    looked_up = np.asarray(palette.convert("RGB"))
    yield Sample("palette", save(palette, "PNG"), looked_up)
    yield Sample("palette with transparency", save(palette, "PNG", transparency=bytes(range(60))), looked_up)
    frames = [Image.fromarray(np.roll(rgb, 40 * number, 0)) for number in range(3)]
    yield Sample("animated PNG: its first frame", save(frames[0], "PNG", save_all=True, append_images=frames[1:]), rgb)
    yield from _jpegs(rgb)


def _jpegs(rgb: Pixels) -> Iterator[Sample]:
    picture = Image.fromarray(rgb)
    for name, options in (
        ("JPEG", {}),
        ("progressive JPEG", {"progressive": True}),
        ("JPEG without subsampling", {"subsampling": 0}),
    ):
        yield Sample(name, save(picture, "JPEG", quality=92, **options), rgb, 3.0)
    yield Sample(
        "grey JPEG", save(picture.convert("L"), "JPEG", quality=92), _grey(np.asarray(picture.convert("L"))), 3.0
    )
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = save(picture, "JPEG", quality=92, exif=exif)
        upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
        yield Sample(f"EXIF orientation {orientation}", data, upright, 3.0)
    cmyk = save(picture.convert("CMYK"), "JPEG", quality=92)
    yield Sample("CMYK JPEG", cmyk, rgb, 4.0)
    yield Sample("CMYK JPEG, inverted as Adobe does", *_adobe(picture, 0), within=4.0)
    yield Sample("YCCK JPEG", *_adobe(picture, 2), within=6.0)


def _adobe(picture: Image.Image, transform: int) -> tuple[bytes, Pixels]:
    """A four-channel JPEG marked by Adobe, and what Pillow reads in it."""
    plain = save(picture.convert("CMYK"), "JPEG", quality=92)
    at = plain.find(b"\xff\xee")
    marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    body = plain[:at] + plain[at + 2 + struct.unpack_from(">H", plain, at + 2)[0] :] if at > 0 else plain
    data = body[:2] + marker + body[2:]
    return data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def hostile() -> Iterator[Sample]:
    """Kinds that must be refused, or answered without costing more than their pixels."""
    jpeg, whole = save(Image.fromarray(scene()), "JPEG"), save(Image.fromarray(scene()), "PNG")
    for kind in ("PNG", "JPEG", "WEBP", "BMP"):
        data = save(Image.fromarray(scene()), kind)
        for part in (0.02, 0.5, 0.98):
            yield Sample(f"{kind}, {part:.0%} of it", data[: int(len(data) * part)], statuses=UNREADABLE)
    for name, width, height in (
        ("twice", 8000, 5000),
        ("one and a half times", 6000, 5000),
        ("2**31 by 2**31:", 2**31 - 1, 2**31 - 1),
    ):
        yield Sample(f"{name} the limit of pixels", png(width, height, 8, 2, bytes(1 << 20)), statuses=REFUSED)
    for name, data in _foreign().items():
        yield Sample(name, data, statuses=UNREADABLE)
    for name, extra in _texts().items():
        yield Sample(name, png(8, 8, 8, 2, lines(np.zeros((8, 24), np.uint8)), *extra), statuses=REFUSED | OK)
    yield Sample("JPEG of 1,000 scans", _scans(1000), statuses=UNREADABLE)
    yield Sample("JPEG of 12 bits", jpeg.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), statuses=UNREADABLE)
    yield Sample("JPEG whose header says 65,000 by 300", _resized(jpeg, 65_000, 300), statuses=REFUSED | OK)
    yield Sample(
        "progressive JPEG at the limit of pixels",
        _resized(save(Image.fromarray(scene()), "JPEG", progressive=True), 5000, 4000),
        statuses=REFUSED,
    )
    yield Sample("PNG with wrong checksum", whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:], statuses=UNREADABLE)
    yield Sample("no pixels", png(0, 0, 8, 2, b""), statuses=UNREADABLE)
    yield Sample("1 x 1", png(1, 1, 8, 2, b"\0\1\2\3"))
    yield Sample("65,535 wide, 1 high", png(65_535, 1, 8, 2, bytes(1 + 3 * 65_535)))
    yield Sample("65,535 wide, 300 high", png(65_535, 300, 8, 2, bytes((1 + 3 * 65_535) * 300)))
    yield Sample("1 wide, 65,535 high", png(1, 65_535, 8, 2, bytes(4 * 65_535)), statuses=REFUSED | OK)
    yield Sample("animated WebP at the limit of pixels", _animated(4400), statuses=REFUSED | OK)
    for name, options in (("lossless", {"lossless": True}), ("lossy", {"quality": 50})):
        data = save(Image.new("RGB", (4400, 4400)), "WEBP", method=0, **options)
        yield Sample(f"{name} WebP at the limit of pixels", data, statuses=REFUSED | OK)
    yield Sample(
        "WebP without loss, 7 million pixels", save(Image.new("RGB", (2800, 2800)), "WEBP", lossless=True, method=0)
    )
    yield Sample("animated WebP, 4 million pixels", _animated(1990))
    yield Sample(
        "progressive JPEG, 9 million pixels",
        _resized(save(Image.fromarray(scene()), "JPEG", progressive=True), 3300, 3000),
    )
    yield Sample("16 bits and alpha at the limit", png(4400, 4400, 16, 6, bytes((1 + 8 * 4400) * 4400)))
    yield Sample("interlaced at the limit", png(4400, 4400, 8, 2, _adam7_zeros(4400), interlaced=True))


def _foreign() -> dict[str, bytes]:
    """Files that say they are a JPEG by their Content-Type and are something else."""
    picture = Image.fromarray(scene())
    found = {
        "TIFF": save(picture, "TIFF"),
        "GIF": save(picture, "GIF"),
        "GIF of 100,000 frames": _gif(100_000),
        "AVIF": save(picture, "AVIF"),
        "JPEG 2000": save(picture, "JPEG2000"),
        "ICO": save(picture, "ICO"),
        "PPM": save(picture, "PPM"),
        "HEIC": struct.pack(">I4s4sI4s", 24, b"ftyp", b"heic", 0, b"mif1") + bytes(1000),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "SVG of a billion laughs": b'<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><svg>&b;</svg>',
        "PDF": b"%PDF-1.7\n1 0 obj\n",
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (r) file\n",
        "zip": b"PK\x03\x04" + bytes(100),
        "HTML": b"<html><script>1</script></html>",
        "zeros": bytes(10_000),
    }
    return found | {"Radiance HDR": bytes(cv2.imencode(".hdr", scene().astype(np.float32))[1])}


def _gif(frames: int) -> bytes:
    """Frames of one pixel each."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * frames + b";"


def _texts() -> dict[str, list[bytes]]:
    bomb = zlib.compress(bytes(64 << 20), 9)
    kinds = {"zTXt": b"a\0\0", "iTXt": b"a\0\1\0\0\0", "iCCP": b"a\0\0"}
    single = {f"PNG with 64 MiB in its {name}": [chunk(name.encode(), head + bomb)] for name, head in kinds.items()}
    return single | {
        f"PNG with 100 of {name}": [chunk(name.encode(), head + bomb)] * 100 for name, head in kinds.items()
    }


def _animated(side: int) -> bytes:
    first, second = (Image.new("RGB", (side, side), colour) for colour in ("red", "blue"))
    return save(first, "WEBP", save_all=True, append_images=[second], lossless=True, method=0)


def _scans(count: int) -> bytes:
    data = save(Image.fromarray(scene()), "JPEG", progressive=True)
    at = data.rfind(b"\xff\xda")
    return data[:at] + data[at:-2] * count + data[-2:]


def _resized(jpeg: bytes, width: int, height: int) -> bytes:
    """The same scans under a header that claims another size."""
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2")) + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def turned(width: int, height: int) -> bytes:
    """A JPEG stored as `width` x `height`, to be shown turned by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _resized(save(Image.fromarray(scene()), "JPEG", exif=exif), width, height)


ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, step of rows, step of columns."""


def _adam7(rgb: Pixels) -> bytes:
    return b"".join(lines(np.ascontiguousarray(rgb[top::down, left::right])) for top, left, down, right in ADAM7)


def _adam7_zeros(side: int) -> bytes:
    rows = ((len(range(top, side, down)), len(range(left, side, right))) for top, left, down, right in ADAM7)
    return b"".join(bytes((1 + 3 * columns) * count) for count, columns in rows)


def _grey(plane: Pixels) -> Pixels:
    return np.repeat(plane[..., None], 3, axis=2)


def mutations(seeds: list[bytes], number: int) -> Iterator[bytes]:
    """`number` damaged files, the same at every call: flipped, overwritten, cut, doubled or swapped parts."""
    rng = np.random.default_rng(20_26)
    for _ in range(number):
        data = bytearray(seeds[int(rng.integers(len(seeds)))])
        for _ in range(int(rng.integers(1, 6))):
            MUTATORS[int(rng.integers(len(MUTATORS)))](data, rng)
        yield bytes(data)


def _overwrite(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(len(data)))
    data[at : at + 4] = rng.bytes(int(rng.integers(1, 5)))


def _number(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(min(len(data), 200)))
    data[at : at + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff"][int(rng.integers(4))]


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(len(data)))
    del data[at : at + int(rng.integers(1, 100))]
    data += b"\0" * (not data)


def _double(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(len(data)))
    data[at:at] = data[at : at + int(rng.integers(1, 200))]


MUTATORS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (_overwrite, _number, _cut, _double)
