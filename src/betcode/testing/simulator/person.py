"""A person at a client: sends, watches, answers, interferes, loses the connection and comes back with the cursor."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from betcode.model import frames
from betcode.model.frames import SessionFrame
from betcode.testing.simulator.talk import Lost, Refused, Talk
from betcode.testing.simulator.town import Errand, Town
from betcode.testing.simulator.truth import Said
from betcode.testing.simulator.viewer import Viewer

TRIES_MAX = 30
"""Attempts at one message."""
PATIENT_S = (0.5, 5.0, 600.0, 3_600.0)
"""How long people wait between actions where they take hours."""
IDLE_S = 1.0
"""Whoever only watches looks this often whether something is to be done; slower where people take hours."""
IDLE_PATIENT_S = 30.0
FINAL_REFUSALS = frozenset({"session.closed", "message.key_conflict", "request.invalid"})
"""Trying again cannot help."""


class Person:
    """One client program and whoever uses it. It never raises: what must not happen is reported to the stage."""

    def __init__(self, town: Town, name: str) -> None:
        """Does nothing before `live`."""
        self.town = town
        self.name = name
        self.rng = Random(f"{name} {town.stage.plan.seed}")
        self.viewers: dict[str, Viewer] = {}
        self._talk: Talk | None = None
        self._attached: set[str] = set()
        self._was_attached: set[str] = set()
        """Sessions that were attached at some time of this connection."""
        self._actions = self.rng.randint(5, 14)

    async def live(self) -> None:
        """Act until all is done, then only watch, until the town closes."""
        acting, failures = True, 0
        while not self.town.closing:
            try:
                talk = await self._connect()
                while not self.town.closing and not talk.lost:
                    await self._attach_all(talk)
                    failures = 0
                    if acting and (self.town.stage.plan.calm or not self._actions):
                        acting = False
                        self.town.busy -= 1
                    if acting:
                        self._actions -= 1
                        await self._act(talk)
                        await asyncio.sleep(self._interval_s())
                    else:
                        plan = self.town.stage.plan
                        await asyncio.sleep(IDLE_PATIENT_S if plan.patient and not plan.calm else IDLE_S)
            except (Lost, Refused):
                failures += 1
                await asyncio.sleep(self.rng.uniform(0.05, min(5.0, 0.5 * failures)))

    def _interval_s(self) -> float:
        if self.town.stage.plan.patient and self.rng.random() < 0.3:
            return self.rng.choice(PATIENT_S)
        return min(20.0, self.rng.expovariate(0.7))

    # --- connecting ---------------------------------------------------------------------------------------------

    async def _connect(self) -> Talk:
        daemon = self.town.daemon
        if daemon is None or not daemon.serving:
            raise Lost
        talk = Talk(self.town.stage, daemon.connect(self.name), self._take, self.rng)
        if self._talk is not None:
            self._talk.leave()
        self._talk = talk
        self._attached.clear()
        self._was_attached.clear()
        await talk.hello()
        return talk

    def _take(self, talk: Talk, frame: SessionFrame) -> None:
        viewer = self.viewers.get(frame.session)
        if viewer is not None and talk is self._talk:  # what an old connection still brings is not looked at
            viewer.take(frame)

    def viewer(self, session: str) -> Viewer:
        """This person's view of a session."""
        town = self.town
        if session not in self.viewers:
            self.viewers[session] = Viewer(town.stage, town.truth, town.ledger, session, self.name)
        return self.viewers[session]

    async def _attach_all(self, talk: Talk) -> None:
        for wanted in self.town.sessions:
            viewer = self.viewers.get(wanted.id)
            if wanted.id and (wanted.id not in self._attached or (viewer is not None and viewer.view.broken)):
                await self._attach(talk, wanted.id)

    async def _attach(self, talk: Talk, session: str) -> None:
        viewer = self.viewer(session)
        if session in self._attached:
            await talk.request(frames.Detach(session=session))
        viewer.attached(fresh=session not in self._was_attached)
        self._attached.add(session)
        self._was_attached.add(session)
        try:
            await talk.request(frames.Attach(session=session, epoch=viewer.view.epoch, seq=viewer.view.seq))
        except Refused:
            self._attached.discard(session)
            raise

    # --- acting -------------------------------------------------------------------------------------------------

    async def _act(self, talk: Talk) -> None:
        """One thing that a person does."""
        for number, wanted in enumerate(self.town.sessions):
            if not wanted.id:
                await self._create(talk, number)
                return
        waiting = [e for e in self.town.errands if not e.done and e.tries < TRIES_MAX]
        if waiting and self.rng.random() < 0.7:
            await self._send(talk, self.rng.choice(waiting))
            return
        if self.rng.random() < 0.7 and await self._answer(talk):
            return
        plan = self.town.stage.plan
        if plan.chance(self.rng, "client", 0.3):
            talk.leave()
            raise Lost
        if plan.chance(self.rng, "person", 0.9):
            await self._interfere(talk)
        else:
            await self._look(talk)

    async def _create(self, talk: Talk, number: int) -> None:
        wanted = self.town.sessions[number]
        request = frames.Create(directory="/work", name=f"s{number}", options=wanted.options, key=wanted.key)
        body = await talk.request(request)
        self.town.created(number, body["session"]["id"])

    async def _send(self, talk: Talk, errand: Errand) -> None:
        session = self.town.sessions[errand.session].id
        errand.tries += 1
        text = errand.text
        if self.town.stage.plan.chance(self.rng, "person", 0.1):
            text += " otherwise"  # the same key with another text: one of the two is refused
        request = frames.Send(session=session, key=errand.key, text=text, steer=errand.steer)
        if not self.town.ledger.open_messages(session):
            self.town.pace.excuse(session)  # nothing waits: a new message may start claude at once
        try:
            body = await talk.request(request)
        except Refused as refused:
            errand.done = errand.done or refused.code in FINAL_REFUSALS
            raise
        same = body["message_id"] == errand.key
        self.town.stage.check(same, "INV-1", f"message {errand.key} was acknowledged as {body['message_id']}")
        self.town.truth.message_acknowledged(session, errand.key, text)
        self.town.stage.note(f"{self.name} is told that {errand.key[-6:]} is {body['state']}")
        errand.done = self.rng.random() < 0.8  # else somebody sends it once more

    async def _answer(self, talk: Talk) -> bool:
        """Answer a question this person has seen. Returns whether there was one."""
        asked = [(viewer.session, event) for viewer in self.viewers.values() for event in viewer.asked.values()]
        if not asked:
            return False
        session, event = self.rng.choice(asked)
        allow = self.rng.random() < 0.7
        edited = {"command": "edited", "x": 0.1} if allow and self.rng.random() < 0.15 else None
        gentle = session in self.town.machine.gentle
        await self.answer(talk, event["permission_id"], allow=allow, updated_input=edited, gentle=gentle)
        return True

    async def answer(
        self, talk: Talk, permission: str, *, allow: bool, updated_input: dict[str, Any] | None, gentle: bool
    ) -> None:
        """Answer one question."""
        said = Said(allow, updated_input, for_session=allow and self.rng.random() < 0.2)
        self.town.truth.answer_sent(permission, said)
        interrupt = not allow and not gentle and self.rng.random() < 0.2
        if interrupt:
            self.town.truth.meddled.add(self.town.ledger.permissions[permission].session)
        body = await talk.request(
            frames.Answer(
                permission=permission,
                allow=allow,
                updated_input=updated_input,
                for_session=said.for_session,
                interrupt=interrupt,
            )
        )
        self.town.truth.answer_acknowledged(permission, said, str(body["state"]))

    async def _interfere(self, talk: Talk) -> None:
        number = self.rng.randrange(len(self.town.sessions))
        session = self.town.sessions[number].id
        kinds: list[frames.Request] = [
            frames.Release(session=session),
            frames.Retry(session=session),
            frames.Rename(session=session, name=f"name {self.rng.random()}"),
        ]
        if not self.town.is_gentle(number):
            kinds += [frames.Interrupt(session=session)] * 3
            kinds += [frames.Clear(session=session), frames.Stop()]
            if self.rng.random() < 0.3:
                kinds.append(frames.Close(session=session))
        if not self.town.stage.plan.gentle:
            kinds.append(frames.Stop(end_sessions=True))
        request = self.rng.choice(kinds)
        await self.control(talk, session, request)

    async def control(self, talk: Talk, session: str, request: frames.Request) -> None:
        """Do something to a session that changes what becomes of its messages."""
        self.town.stage.note(f"{self.name} asks for {type(request).__name__} in {session}")
        self.town.pace.excuse(session)
        if isinstance(request, frames.Stop):
            self.town.truth.meddled |= {wanted.id for wanted in self.town.sessions}
        elif not isinstance(request, frames.Release | frames.Retry | frames.Rename):
            self.town.truth.meddled.add(session)
        await talk.request(request)
        self.town.pace.excuse(session)

    async def _look(self, talk: Talk) -> None:
        """Requests that change nothing."""
        session = self.rng.choice(self.town.sessions).id
        kinds = (
            frames.Ping(),
            frames.GetStatus(),
            frames.ListSessions(),
            frames.Show(session=session),
            frames.Permissions(),
            frames.Events(session=session, after=self.rng.randrange(5)),
            frames.Watch(),
            frames.Answer(permission="p000000000000", allow=True),
        )
        request = self.rng.choice(kinds)
        await talk.request(request)
        if session in self._attached and self.rng.random() < 0.3:
            await self._attach(talk, session)


class Caretaker(Person):
    """Whoever looks after what is held for a person, when all faults are over."""

    async def tend(self) -> None:
        """One round: answer, release and retry what waits for a person."""
        try:
            talk = await self._connect()
            for wanted in self.town.sessions:
                if wanted.id:
                    await self._tend_session(talk, wanted.id)
            talk.leave()
        except (Lost, Refused) as error:
            self.town.stage.note(f"the caretaker is turned away: {error!r}")

    async def _tend_session(self, talk: Talk, session: str) -> None:
        body = await talk.request(frames.Permissions(session=session))
        for question in body["permissions"]:
            allow = self.rng.random() < 0.7
            try:
                await self.answer(talk, question["id"], allow=allow, updated_input=None, gentle=True)
            except Refused as refused:
                self.town.stage.note(f"the caretaker's answer is refused: {refused}")
        shown = (await talk.request(frames.Show(session=session)))["session"]
        if shown["state"] == "CRASHED":
            await self.control(talk, session, frames.Retry(session=session))
        if shown["held"]:
            await self.control(talk, session, frames.Release(session=session))
