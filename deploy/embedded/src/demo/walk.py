"""The seven steps of the main job, through the same interfaces that everybody has."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from uuid import UUID

import msgspec
from rich.markup import escape

import samples
from contracts.errors import Permanent
from contracts.vocabulary import DeploymentStatus, DeploymentType, ExportFormat, ExportStatus
from demo import agreement, cpp, training_platform
from demo.host import DemoError
from demo.package import Package, WrapperRun
from embedded.stack import StackFile
from modelport.client import Client
from modelport.drawing import draw
from modelport.errors import ClientError
from modelport.exports import JobState
from modelport.models import Deployment, ExportJob, TrainingJob
from modelport.predictions import Inference, Prediction
from packager.toolchains.cpp import Cpp
from samples.cache import OFFLINE_ENVIRONMENT, cache_folder

SAMPLE = "shapes-detector"
PICTURE = "wide.png"
PATIENCE_S = 60.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the summary shows."""

    rows: list[agreement.Row]
    sample: samples.Sample
    picture: Path
    drawn: Path
    job: ExportJob
    package: Path
    wrapper: WrapperRun
    cpp: cpp.CppRun
    deployment: Deployment
    inference: Inference
    round_trip_ms: float
    trace_id: str
    seconds: float

    @property
    def agrees(self) -> bool:
        """Something was found, and all found it."""
        return bool(self.rows) and all(row.agrees for row in self.rows)


class Walk:
    """`told(step, line)` announces a step; `progress` receives the states of the export."""

    def __init__(
        self,
        running: StackFile,
        folder: Path,
        told: Callable[[int, str], None],
        progress: Callable[[JobState], None],
    ) -> None:
        self._running, self._folder, self._told, self._progress = running, folder, told, progress
        self._client = Client(running.gateway_url, running.token, running.proxy_url)

    def run(self, sample: samples.Sample) -> Outcome:
        """Steps two to seven; DemoError or ClientError says what went wrong."""
        began = time.monotonic()
        folder = self._folder
        folder.mkdir(parents=True, exist_ok=True)
        picture = next(path for path in samples.write_pictures(folder / "pictures") if path.name == PICTURE)
        with cpp.compiling(ExportFormat.ONNX) as programs:
            training, trace_id = self._announce(sample)
            job = self._export(training)
            archive = self._download(job.id)
            package = Package(archive, folder / "package")
            wrapper = package.predict(package.create_interpreter(cache_folder().parent / "package-venv"), picture)
            self._told(4, f"its own wrapper found {len(wrapper.predictions)} shapes in {wrapper.milliseconds:.1f} ms")
            deployment = self._deploy(job.id)
            inference, round_trip = self._infer(deployment, picture)
            source = source_predictions(sample.checkpoint, picture, package)
            in_cpp = self._in_cpp(programs, package, picture)
        drawn = folder / "predictions.png"
        draw(picture, inference.predictions, drawn)
        self._told(7, f"the picture with its boxes: {drawn}")
        return Outcome(
            rows=agreement.rows(source, wrapper.predictions, *in_cpp.found, inference.predictions),
            sample=sample,
            picture=picture,
            drawn=drawn,
            job=job,
            package=archive,
            wrapper=wrapper,
            cpp=in_cpp,
            deployment=deployment,
            inference=inference,
            round_trip_ms=round_trip,
            trace_id=(job.trace_id or trace_id).replace("-", ""),
            seconds=time.monotonic() - began,
        )

    def _in_cpp(self, programs: Future[Cpp], package: Package, picture: Path) -> cpp.CppRun:
        run = cpp.predict(programs, package, picture)
        told = (
            f"is left out: {escape(run.lacks)}" if run.lacks else f"found {len(run.predictions)} shapes, compiled here"
        )
        self._told(6, f"the package's C++ wrapper {told}")
        return run

    def _announce(self, sample: samples.Sample) -> tuple[TrainingJob, str]:
        uri = self._client.training.upload(sample.checkpoint)
        user = self._client.users.me()
        training_id, trace_id = training_platform.announce(self._running.nats_url, user.id, uri, sample.recipe)
        training = self._until_known(training_id)
        self._told(2, f"training.jobs.completed.v1 is on the bus and known as {training.id}")
        return training, trace_id

    def _until_known(self, training_id: UUID) -> TrainingJob:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._client.training.get(training_id)
            except (ClientError, Permanent) as error:
                if time.monotonic() > until:
                    raise DemoError(f"the gateway never took the training over from the bus: {error}") from error
            time.sleep(0.05)

    def _export(self, training: TrainingJob) -> ExportJob:
        job = self._client.exports.create(training.id, ExportFormat.ONNX)
        self._told(3, f"export job {job.id}")
        job = self._client.exports.wait(job.id, self._progress)
        if job.status is not ExportStatus.COMPLETED:
            raise DemoError(f"the export ended {job.status}: {job.error_message or job.error}")
        return job

    def _download(self, job_id: UUID) -> Path:
        deployment = self._active(self._client.deployments.create(job_id, DeploymentType.DOWNLOAD, "demo package"))
        archive = self._client.deployments.download(deployment.id, self._folder / "export-package.zip")
        self._told(4, f"downloaded {archive.name}, {archive.stat().st_size / 1e6:.1f} MB")
        return archive

    def _deploy(self, job_id: UUID) -> Deployment:
        asked = self._client.deployments.create(job_id, DeploymentType.PLATFORM_ENDPOINT, "demo endpoint")
        active = self._active(asked)
        self._told(5, f"endpoint {active.endpoint_url} is live")
        return msgspec.structs.replace(active, api_key=asked.api_key)

    def _active(self, deployment: Deployment) -> Deployment:
        settled = self._client.deployments.wait(deployment.id)
        if settled.status is not DeploymentStatus.ACTIVE:
            raise DemoError(f"deployment '{deployment.name}' ended {settled.status}: {settled.error}")
        return settled

    def _infer(self, deployment: Deployment, picture: Path) -> tuple[Inference, float]:
        """The second call's time: the first one may still wait for the route."""
        endpoint = self._client.endpoint(str(deployment.id), deployment.api_key or "")
        endpoint.infer(picture)
        began = time.perf_counter()
        inference = endpoint.infer(picture)
        round_trip = (time.perf_counter() - began) * 1000
        endpoint.close()
        self._told(6, f"the endpoint found {len(inference.predictions)} shapes in {inference.latency_ms:.1f} ms")
        return inference, round_trip


def source_predictions(checkpoint: Path, picture: Path, package: Package) -> list[Prediction]:
    """By Ultralytics itself, in a process of its own, with the thresholds that the package states."""
    nms = package.metadata.postprocessing.nms
    thresholds = (str(nms.confidence_threshold), str(nms.iou_threshold))
    command = [sys.executable, "-m", "demo.source", str(checkpoint), str(picture), *thresholds]
    environment = {**os.environ, **OFFLINE_ENVIRONMENT, "YOLO_CONFIG_DIR": str(checkpoint.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DemoError(f"the source model does not run:\n{done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=list[Prediction])
