"""(i) Every format against the plain library's command, one by one and all together; and an export that was made before against the first."""

import time
from uuid import UUID

from bench.figures import median, table, verdict
from bench.plain import PLAIN, plain_seconds
from bench.platform import Platform, Say, own_platform
from contracts.vocabulary import ExportFormat

ROUNDS = 3
WARM, TOGETHER, AGAIN = 0.75, 0.8, 0.05
HOME, PORT_BASE = ".modelport-bench-formats", 19800


def measure(platform: Platform, say: Say) -> str:
    """A stack of its own, with a worker of every environment."""
    with own_platform(say, HOME, PORT_BASE, TOOLCHAINS="") as all_formats:
        pairs = _pairs(all_formats, say)
        together = _together(all_formats, say)
    with own_platform(say, HOME, PORT_BASE, REUSE_RESULTS="on") as remembering:
        again = _again(remembering, say)
    commands = sum(median([plain for _, plain in of]) for of in pairs.values())
    rows = [
        (str(name), *(f"{median(list(side)):.2f}" for side in zip(*of, strict=True)), f"{_ratio(of):.2f}")
        for name, of in pairs.items()
    ]
    return (
        "## (i) Every format against the plain command\n\n"
        "POST → completed package, a warm run waiting, against `YOLO(checkpoint).export(format=…)` in a fresh process of the environment that has the "
        f"format's toolchain. The job also proves its artefact on 32 pictures. Medians of {ROUNDS} rounds; TensorRT is left out, since the plain "
        "command needs a GPU for it.\n\n"
        + table(("format", "job, s", "plain, s", "ratio"), rows)
        + f"\n\n- ONNX: {verdict(_ratio(pairs[ExportFormat.ONNX]), WARM)}\n"
        f"- all {len(PLAIN)} together, from the first request to the last package, against the commands one after another: "
        f"{together:.1f} s / {commands:.1f} s, {verdict(together / commands, TOGETHER)}\n"
        f"- an ONNX export that the same user has made before, against a cold worker's first: {verdict(again, AGAIN)}"
    )


def _pairs(platform: Platform, say: Say) -> dict[ExportFormat, list[tuple[float, float]]]:
    found: dict[ExportFormat, list[tuple[float, float]]] = {name: [] for name in PLAIN}
    for number in range(1, ROUNDS + 1):
        for name in PLAIN:
            platform.settle()
            began = time.perf_counter()
            platform.completed(_asked(platform, name))
            found[name].append((time.perf_counter() - began, plain_seconds(platform.sample.checkpoint, name)))
            say("round {}, {}: job {:.2f} s, plain {:.2f} s".format(number, name, *found[name][-1]))
    return found


def _together(platform: Platform, say: Say) -> float:
    platform.settle()
    began = time.perf_counter()
    for job in [_asked(platform, name) for name in PLAIN]:
        platform.completed(job)
    seconds = time.perf_counter() - began
    say(f"all formats together: {seconds:.2f} s")
    return seconds


def _again(platform: Platform, say: Say) -> float:
    """The first export waits for its toolchain's imports, as in a worker without warm runs; the rest are the very same."""
    began = time.perf_counter()
    platform.export()
    cold = time.perf_counter() - began
    ratios = []
    for _ in range(ROUNDS):
        platform.settle()
        began = time.perf_counter()
        platform.export()
        ratios.append((time.perf_counter() - began) / cold)
    say(f"the first took {cold:.2f} s; the same again {median(ratios):.3f} of it")
    return median(ratios)


def _asked(platform: Platform, name: ExportFormat) -> UUID:
    return platform.client.exports.create(platform.training.id, str(name)).id


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return median([ours / plain for ours, plain in pairs])
