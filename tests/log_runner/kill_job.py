"""One job of the kill campaign: started, killed and started again until it has come to its end. All from one seed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from log_runner import processes
from log_runner.kill_plans import DECK, Deck, Phase, plan_of
from log_runner.kill_points import COORDINATOR, COPY
from log_runner.kill_subjects import Sizes

from hornbeam.runners.log.states import STOPPED
from hornbeam.storage.faults import ENVIRONMENT_VARIABLE, LOG_VARIABLE

#: Whom a random kill hits, and how often.
VICTIMS = {"worker": 12, "workers": 3, "copy": 2, "server": 2, "coordinator": 4, "all": 2}
_MEAN_SECONDS = 0.35
_ARMED_ATTEMPTS = 5
_LOOK_SECONDS = 0.05


class KillJob:
    """Runs the job of one seed. `run` raises what went wrong; `kills` and `rows` are there in any case."""

    def __init__(self, seed: int, sizes: Sizes, deck: Deck = DECK) -> None:
        self.plan = plan_of(seed, deck)
        self._deck = deck
        self.sizes = sizes
        self.kills: Counter[tuple[str, str]] = Counter()
        self.rows = 0
        self.starts = 0
        self._chance = random.Random(seed + (1 << 40))
        self._left = self.plan.kills
        self._at_point = self.plan.point.times
        self._armed = 0
        self._servers: set[int] = set()
        self._coordinators: set[int] = set()
        self._noted = 0

    def run(self) -> None:
        """From the first start to the check of all that was committed; the folder is left when something is wrong."""
        self.path = tempfile.mkdtemp(prefix="hornbeam-kills-")
        self.out = self.path
        self.subject = self._deck.subject(self.plan.pipeline, self.path, self.sizes)
        self.folder = self.subject.folder
        self._deadline = time.monotonic() + self.sizes.deadline_seconds
        try:
            self.subject.prepare(self.out)
            for number, phase in enumerate(self.plan.phases):
                if number and self.plan.life == "fresh":
                    self._begin_anew(phase)
                if number and phase.workers and self.folder.exists() and self._chance.random() < 0.5:
                    phase = self._from_savepoint(phase)
                self._phase(phase)
            self.rows = self.subject.check(self.out, moved=self.plan.life in ("rescale", "change"))
        except BaseException as error:
            error.add_note(
                f"in {self.path}, {self.plan}; {self.starts} starts; kills: {dict(self.kills)}\n"
                f"again: kill_campaign.py --job {self.plan.seed} --size {self.sizes.records}\n{self._output()}"
            )
            raise
        shutil.rmtree(self.path)

    def _output(self) -> str:
        with open(os.path.join(self.path, "output"), "rb") as file:
            return file.read().decode(errors="replace")[-4000:]

    # Phases

    def _from_savepoint(self, phase: Phase) -> Phase:
        """After a stop the savepoint is the newest state, so it may be named; nothing is given out again."""
        if self.folder.record().state != STOPPED or not self._savepoint:
            return phase
        return attrs.evolve(phase, flags=(*phase.flags, f"--restore_from={self._savepoint}"))

    def _begin_anew(self, phase: Phase) -> None:
        """--fresh, with another folder for what it commits, until it is killed; the next start is a plain one."""
        self.out = os.path.join(self.path, "anew")
        os.mkdir(self.out)
        point = self.plan.point.name if self.plan.point.name.startswith("job.fresh") else "job.started"
        self.subject.prepare(self.out)
        fresh = attrs.evolve(phase, flags=(*phase.flags, "--fresh"))
        job = self._start(fresh, {ENVIRONMENT_VARIABLE: f"{point}:1:kill"})
        assert job.wait(60) == -signal.SIGKILL, f"it was not killed at {point}"
        self._count_noted()
        if point == "job.fresh" and self._chance.random() < 0.7:
            self._remove_some_state()

    def _remove_some_state(self) -> None:
        """As if it had been killed while it removed files."""
        for folder, _, names in os.walk(self.folder.checkpoints):
            for name in names:
                if self._chance.random() < 0.5:
                    os.unlink(os.path.join(folder, name))

    def _phase(self, phase: Phase) -> None:
        """Starts the phase's command until the job has come to its end."""
        self._savepoint = ""
        target = processes.newest_checkpoint(self.folder) + phase.after
        while True:
            job = self._start(phase, self._arming(phase))
            if phase.flags and phase.flags[-1].startswith("--restore_from"):
                # It is not named again: the start that was killed has been told.
                phase = attrs.evolve(phase, flags=phase.flags[:-1]) if self._was_told(job) else phase
            if not self._watch(job, phase, target):
                return
            state = self.folder.state() if self.folder.exists() else ""
            if state in phase.ends:
                return
            if job.returncode != -signal.SIGKILL:
                raise AssertionError(f"the job ended with {job.returncode}, {state}")

    def _was_told(self, job: subprocess.Popen[bytes]) -> bool:
        """Waits until job.json has what the command asked for, or the process has ended."""
        starts = self.folder.record().starts
        while job.poll() is None and self.folder.record().starts == starts:
            if time.monotonic() > self._deadline:
                return False
            time.sleep(0.005)
        return self.folder.record().starts > starts

    def _watch(self, job: subprocess.Popen[bytes], phase: Phase, target: int) -> bool:
        """Kills and tells until the process has ended; False when the phase ends with its death."""
        is_told = False
        next_kill = time.monotonic() + self._chance.expovariate(1 / _MEAN_SECONDS)
        looked = 0.0
        while job.poll() is None:
            now = time.monotonic()
            if now > self._deadline:
                self._end(job)
                raise AssertionError("the job does not end")
            self._servers.update(processes.children(job.pid))
            if now > looked + _LOOK_SECONDS:
                if processes.newest_checkpoint(self.folder) >= target:
                    if phase.told and not is_told and self.folder.is_running() and self.subject.is_complete():
                        is_told = True
                        self._tell(phase.told)
                        if phase.told == "savepoint" and self._chance.random() < 0.5:
                            is_told, target = False, target + 3
                    elif not phase.ends:
                        self._kill(job, "all")
                        job.wait()
                        self._count_noted()
                        return False
                looked = time.monotonic()
            ready = bool(processes.grandchildren(job.pid)) or self._chance.random() < 0.002
            if self._left > 0 and now >= next_kill and ready:
                kinds = list(VICTIMS)
                self._kill(job, self._chance.choices(kinds, [VICTIMS[kind] for kind in kinds])[0])
                next_kill = time.monotonic() + self._chance.expovariate(1 / _MEAN_SECONDS)
            time.sleep(0.005)
        self._count_noted()
        return True

    def _tell(self, command: str) -> None:
        arguments = {}
        if command != "drain":
            self._savepoint = arguments["name"] = f"{command}-{self.starts}-{self._chance.randrange(1 << 20)}"
        self.folder.send(command, **arguments)

    # Starts

    def _start(self, phase: Phase, faults: dict[str, str]) -> subprocess.Popen[bytes]:
        self.starts += 1
        environment = {
            **os.environ,
            LOG_VARIABLE: os.path.join(self.path, "noted"),
            "HORNBEAM_CAMPAIGN_OUT": self.out,
            "HORNBEAM_FORK_ENTRIES_MIN": "1"
            if self.plan.point.role == COPY
            else self._chance.choice(("1", "5", "2000")),
            "HORNBEAM_SLOW_COMMIT_SECONDS": self._chance.choice(("0", "0", "0", "0.03", "0.1")),
            **faults,
        }
        command = self.subject.command(phase.pipeline, phase.workers, phase.flags)
        with open(os.path.join(self.path, "output"), "ab") as output:
            output.write(f"# start {self.starts}: {' '.join(command[2:])} {faults}\n".encode())
            output.flush()
            job = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        self._coordinators.add(job.pid)
        return job

    def _arming(self, phase: Phase) -> dict[str, str]:
        """The environment in which the point is armed, as long as the job has not been killed at it often enough."""
        point = self.plan.point
        if self._at_point <= 0:
            return {}
        if point.name in ("coordinator.recover", "coordinator.recovered", "coordinator.recommitted") and (
            self.starts == 0
        ):
            return {}
        passes = max(1, point.passes >> self._armed)  # sooner, if it was not come to
        self._armed += 1
        attempt = self.folder.record().attempts if self.folder.exists() else 0
        if point.role == COORDINATOR:
            armed = {ENVIRONMENT_VARIABLE: f"{point.name}:{self._chance.randint(1, passes)}:kill"}
            if point.name == "coordinator.give_up":  # of a checkpoint amid which a worker dies
                at = f"{self._chance.randrange(phase.workers)}@{attempt + 1}"
                armed["HORNBEAM_WORKER_FAULTS"] = f"{at}=worker.cut:{self._chance.randint(1, 2)}:kill"
            return armed
        parts = []
        for number in range(_ARMED_ATTEMPTS if passes > 1 else point.times):
            at = self._chance.randint(1, max(1, passes >> number))
            worker = self._chance.randrange(phase.workers)
            parts.append(f"{worker}@{attempt + 1 + number}={point.name}:{at}:kill")
        return {"HORNBEAM_WORKER_FAULTS": ";".join(parts)}

    # Kills

    def _kill(self, job: subprocess.Popen[bytes], kind: str) -> None:
        """Kills something of a job."""
        servers, workers = processes.children(job.pid), processes.grandchildren(job.pid)
        copies = [copy for worker in workers for copy in processes.children(worker)]
        doomed: Sequence[int] = {
            "worker": [self._chance.choice(workers)] if workers else [],
            "workers": workers,
            "copy": copies or ([self._chance.choice(workers)] if workers else []),
            "coordinator": [job.pid],
            "server": servers,
            "all": [job.pid, *servers, *workers, *copies],
        }[kind]
        for pid in self._chance.sample(list(doomed), len(doomed)):
            role = {job.pid: COORDINATOR, **dict.fromkeys(servers, "server"), **dict.fromkeys(copies, COPY)}
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.kills[role.get(pid, "worker"), "at random"] += 1
            self._left -= 1

    def _count_noted(self) -> None:
        """Counts who has killed itself at a fault point since the last call."""
        path = os.path.join(self.path, "noted")
        lines = Path(path).read_text().splitlines() if os.path.exists(path) else []
        for line in lines[self._noted :]:
            name, pid, parent = line.split()
            role = "worker" if int(parent) in self._servers else COPY
            if int(pid) in self._coordinators:
                role = COORDINATOR
            self.kills[role, name] += 1
            self._at_point -= 1
        self._noted = len(lines)

    def _end(self, job: subprocess.Popen[bytes]) -> None:
        for pid in (job.pid, *processes.children(job.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        job.wait()
