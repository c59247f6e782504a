"""The pictures that every export is compared on: drawn by arithmetic from fixed seeds, free of any licence."""

import numpy as np
import numpy.typing as npt

from export_worker.loaded import Picture

SIZES: tuple[tuple[int, int], ...] = (
    # (height, width): 16 square, 16 not
    (320, 320), (240, 320), (224, 224), (360, 203), (256, 256), (135, 240), (96, 96), (320, 180),
    (192, 192), (97, 131), (160, 160), (211, 157), (416, 416), (300, 400), (64, 64), (48, 160),
    (128, 128), (200, 64), (288, 288), (341, 256), (33, 33), (17, 29), (1, 1), (64, 512),
    (400, 400), (400, 50), (448, 448), (480, 640), (250, 250), (251, 333), (640, 640), (7, 300),
)  # fmt: skip
GOLDEN_SIZES: tuple[tuple[int, int], ...] = ((97, 131), (160, 160), (211, 157), (48, 160))


def pictures() -> list[Picture]:
    """32 RGB pictures, half of them not square: scenes, shapes, noise, gradients, glyphs, grey, plain, tiny, very long."""
    return [DRAWERS[index % len(DRAWERS)](np.random.default_rng(index), *size) for index, size in enumerate(SIZES)]


def golden_indices() -> list[int]:
    """The small pictures whose tensors and outputs travel in every package."""
    return [SIZES.index(size) for size in GOLDEN_SIZES]


def scene(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Sky, ground, soft hills and sensor noise: smooth like a photograph."""
    y, x = _grid(height, width)
    hills = 0.55 + 0.12 * np.sin(6 * x + rng.uniform(0, 6)) + 0.05 * np.sin(17 * x + rng.uniform(0, 6))
    sky = np.stack([120 + 60 * y, 160 + 50 * y, 220 - 20 * y], -1)
    ground = np.stack([70 + 60 * x * y, 110 + 40 * np.sin(20 * y), 50 + 30 * x], -1)
    sun = 90 * np.exp(-40 * ((x - 0.7) ** 2 + (y - 0.2) ** 2))[..., None]
    picture = np.where((y > hills)[..., None], ground, sky + sun)
    return _bytes(picture + rng.integers(-8, 9, picture.shape))


def shapes(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Circles, squares and triangles in strong colours over noisy grey."""
    picture = rng.integers(0, 60, (height, width, 3)).astype(np.float64) + rng.integers(0, 120)
    y, x = np.mgrid[0:height, 0:width]
    for number in range(int(rng.integers(2, 5))):
        radius = max(2, int(min(height, width) * rng.uniform(0.1, 0.22)))
        cy, cx = rng.integers(0, height), rng.integers(0, width)
        dy, dx = y - cy, x - cx
        inside = (
            dy**2 + dx**2 <= radius**2,
            (abs(dy) <= radius) & (abs(dx) <= radius),
            (abs(dy) <= radius) & (2 * abs(dx) <= dy + radius),
        )[number % 3]
        picture[inside] = rng.integers(80, 256, 3)
    return _bytes(picture)


def noise(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Every byte at random: the worst case of a resize kernel."""
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


def gradient(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Each channel rises in a direction of its own."""
    y, x = _grid(height, width)
    angles = rng.uniform(0, np.pi, 3)
    return _bytes(np.stack([255 * abs(np.cos(a) * x + np.sin(a) * y) / 1.42 for a in angles], -1))


def glyphs(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Rows of dark strokes on paper, like print."""
    cells = rng.integers(0, 2, (-(-height // 3), -(-width // 2))) * (np.arange(-(-height // 3)) % 4 > 0)[:, None]
    ink = np.kron(cells, np.ones((3, 2)))[:height, :width]
    return _bytes(np.stack([245 - 210 * ink, 240 - 205 * ink, 228 - 190 * ink], -1))


def grey(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Three equal channels: rings with noise."""
    y, x = _grid(height, width)
    rings = 128 + 90 * np.sin(40 * np.hypot(x - 0.5, y - 0.5)) + rng.integers(-5, 6, (height, width))
    return _bytes(np.repeat(rings[..., None], 3, -1))


def channels(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Red, green and blue stripes: what a swapped colour order shows at once."""
    stripe = (np.arange(width) * 6 // max(width, 1)) % 3
    picture = np.zeros((height, width, 3))
    picture[:, np.arange(width), stripe] = rng.integers(180, 256, width)
    return _bytes(picture + rng.integers(0, 20, (height, 1, 1)))


def plain(rng: np.random.Generator, height: int, width: int) -> Picture:
    """One colour with one bright block in a corner."""
    picture = np.full((height, width, 3), rng.integers(0, 256, 3), dtype=np.float64)
    picture[: max(1, height // 4), : max(1, width // 3)] = (250, 240, 20)
    return _bytes(picture)


DRAWERS = (scene, shapes, noise, shapes, gradient, glyphs, scene, channels, shapes, grey, plain)


def _grid(height: int, width: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    y, x = np.mgrid[0:height, 0:width]
    return y / max(height, 1), x / max(width, 1)


def _bytes(values: npt.NDArray[np.float64]) -> Picture:
    return np.clip(values, 0, 255).astype(np.uint8)
