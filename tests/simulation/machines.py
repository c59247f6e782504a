"""What services drive: the runs of a worker, and the Triton of a deployer."""

import asyncio

from contracts.errors import ErrorInfo, Permanent, Transient
from contracts.events.deployment import DeploymentActivatedV1, DeploymentRequestedV1
from contracts.execution import ExportRun
from contracts.keys import triton_model_name
from contracts.vocabulary import ExportStage
from export_worker import facts
from export_worker.launchers import Remains, RunHandle, RunState
from export_worker.run import Exit
from gateway.testing import facts as told
from servicekit.leases import LeaseLost

from .broker import SimBus
from .clock import Process
from .world import World


class SimLauncher:
    """Runs that do in a few virtual seconds what `export_worker.run` does: progress, objects, one terminal fact."""

    def __init__(self, process: Process, world: World, bus: SimBus) -> None:
        self._process, self._world, self._bus = process, world, bus
        self._runs: dict[str, asyncio.Task[Exit]] = {}

    async def launch(self, run: ExportRun) -> RunHandle:
        self._runs[run.id] = asyncio.get_running_loop().create_task(self._perform(run))
        return RunHandle(run.id)

    async def poll(self, handle: RunHandle) -> RunState:
        task = self._runs.get(handle.id)
        if task is None or task.cancelled():
            return RunState.LOST
        if not task.done():
            return RunState.RUNNING
        return RunState.SUCCEEDED if task.result() is Exit.STATED else RunState.FAILED

    async def cancel(self, handle: RunHandle, grace_s: float = 1.0) -> None:
        if task := self._runs.get(handle.id):
            task.cancel()

    async def remains(self, handle: RunHandle) -> Remains:
        task = self._runs.get(handle.id)
        is_over = task is not None and task.done() and not task.cancelled()
        return Remains(exit_code=task.result() if task is not None and is_over else None)

    async def forget(self, handle: RunHandle) -> None:
        self._runs.pop(handle.id, None)

    async def _perform(self, run: ExportRun) -> Exit:
        feed = facts.ProgressFeed(self._bus, run)
        worker = told.Worker(run.request)
        try:
            for stage in (ExportStage.FETCH, ExportStage.CONVERT, ExportStage.VERIFY):
                feed.at(stage, 0.5, "")
                await asyncio.sleep(self._world.rng.expovariate(0.4))
            match self._world.fate(run.request.job_id):
                case "refused":
                    error = ErrorInfo.of(Permanent("conversion_failed", "no"), stage="convert")
                    await facts.state(self._bus, run, facts.failed(run, error))
                case "broken":
                    return Exit.BROKEN
                case "outage" if self._world.rng.random() < 0.5:
                    return Exit.TRY_AGAIN
                case _:
                    fact = worker.exported(run.attempt)
                    await self._world.put(self._process, fact.model.key, str(run.attempt))
                    await facts.state(self._bus, run, fact)
        except LeaseLost:
            return Exit.STATED
        except Transient:
            return Exit.TRY_AGAIN
        finally:
            await feed.stop()
        return Exit.STATED


class SimTriton:
    """Triton as one deployer sees it, and the strategy that loads models into it."""

    def __init__(self, process: Process, world: World) -> None:
        self._process, self._world = process, world

    async def loaded(self) -> set[str]:
        return await self._process.deal(lambda: set(self._world.loaded), _TritonAway, "asking Triton")

    async def unload(self, name: str) -> None:
        await self._process.deal(lambda: self._world.loaded.pop(name, None), _TritonAway, "unloading")

    async def activate(self, request: DeploymentRequestedV1) -> DeploymentActivatedV1:
        await asyncio.sleep(self._world.rng.expovariate(0.5))
        if self._world.is_unloadable(request.deployment_id):
            raise Permanent("deployment_failed", "no")
        name = triton_model_name(request.deployment_id)
        await self._process.deal(lambda: self._world.loaded.update({name: None}), _TritonAway, "loading")
        return told.activated(request)

    async def deactivate(self, request: DeploymentRequestedV1) -> None:
        await self.unload(triton_model_name(request.deployment_id))

    delete = deactivate


class _TritonAway(Transient):
    def __init__(self) -> None:
        super().__init__("unavailable", "Triton does not answer.")
