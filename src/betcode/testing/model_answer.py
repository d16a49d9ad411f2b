"""Performs one step of a script on a connection: the answer, and the fault in it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from betcode.testing.http_connection import Connection
from betcode.testing.limits import WRITE_BATCH_BYTES
from betcode.testing.script import Fault, Step
from betcode.testing.sse import Reply, error_body, error_event


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer on its way. `on_status` is told the status that the client sees (0: a reset instead of any)."""

    connection: Connection
    reply: Reply
    streamed: bool
    on_status: Callable[[int], None]

    async def give(self) -> None:
        """Write the whole answer as the step says. Raises ClientGone; the connection is then of no more use."""
        step = self.reply.step
        if step.delay_s:
            await self.connection.pause(step.delay_s)
        match step.fault:
            case Fault.RESET_BEFORE_HEADERS:
                self.on_status(0)
                await self.connection.reset()
            case Fault.STATUS:
                body = error_body(step.error_type, step.message, f"req_{self.reply.reply_id}")
                await self._send_whole(step.status, body)
            case Fault.HTML:
                page = f"<html><body><h1>{step.status} scripted page</h1></body></html>".encode()
                await self._send_whole(step.status, page, content_type="text/html")
            case _ if self.streamed:
                await self._stream(step)
            case _:
                await self._give_unstreamed(step)

    async def _stream(self, step: Step) -> None:
        await self._head(200, {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"})
        if not await self._stream_blocks(step):
            return
        await self.connection.send_chunk(self.reply.closing())
        await self.connection.send_chunk(b"")

    async def _stream_blocks(self, step: Step) -> bool:
        """Send everything up to the closing events; False if a fault ended the answer."""
        clock = asyncio.get_running_loop().time
        batch = bytearray(self.reply.opening())
        deltas, due, met = 0, clock(), step.fault is None
        for payload, is_delta in self.reply.blocks():
            if is_delta and not met and deltas == step.after:
                met = True
                if not await self._fault(step, batch):
                    return False
                due = clock()
            if is_delta and step.delta_s and deltas:
                await self._flush(batch)
                due = max(due + step.delta_s, clock())
                await self.connection.pause(due - clock())
            elif len(batch) >= WRITE_BATCH_BYTES:
                await self._flush(batch)
                await asyncio.sleep(0)  # a long answer must not hold up the other sessions' answers
            batch += payload
            deltas += is_delta
        if not met and not await self._fault(step, batch):
            return False
        await self._flush(batch)
        return True

    async def _flush(self, batch: bytearray) -> None:
        if batch:
            await self.connection.send_chunk(bytes(batch))
            batch.clear()

    async def _fault(self, step: Step, before: bytearray) -> bool:
        """Send what comes before the fault, then the fault; True if the stream goes on after it."""
        await self._flush(before)
        match step.fault:
            case Fault.STALL:
                await self.connection.pause(step.stall_s)
                return True
            case Fault.RESET_MID_STREAM:
                await self.connection.reset()
            case Fault.SSE_ERROR:
                await self.connection.send_chunk(error_event(step.error_type, step.message))
                await self.connection.send_chunk(b"")
            case _:
                await self.connection.send_chunk(b"")
        return False

    async def _give_unstreamed(self, step: Step) -> None:
        """The counterparts of the faults in a stream: silence before the body, or a body that stops in the middle."""
        body = self.reply.whole()
        match step.fault:
            case Fault.STALL:
                await self.connection.pause(step.stall_s)
                await self._send_whole(200, body)
            case Fault.SSE_ERROR:
                await self._send_whole(500, error_body(step.error_type, step.message, f"req_{self.reply.reply_id}"))
            case Fault.RESET_MID_STREAM | Fault.EOF:
                await self._head(200, {"content-type": "application/json", "content-length": str(len(body))})
                await self.connection.send(body[: len(body) // 2])
                if step.fault is Fault.RESET_MID_STREAM:
                    await self.connection.reset()
                self.connection.close()
            case _:
                await self._send_whole(200, body)

    async def _send_whole(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        await self._head(status, {"content-type": content_type, "content-length": str(len(body))})
        await self.connection.send(body)

    async def _head(self, status: int, headers: Mapping[str, str]) -> None:
        own = {"request-id": f"req_{self.reply.reply_id}", **self.reply.step.headers}
        self.on_status(status)
        await self.connection.send_head(status, {**own, **headers})
