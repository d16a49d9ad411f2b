"""The copy of the image that an experiment works on."""

from __future__ import annotations

import asyncio
import shutil

from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.storage.image import PLACE
from betcode.testing.installation import Installation


def copy_image(made: Installation) -> None:
    """Put it in the place of the data directory, which is not there yet."""
    shutil.copytree(PLACE / "data", made.paths.data)
    made.paths.data.chmod(0o700)


async def stop(stage: Stage) -> None:
    """End the daemon in order, and the clients' wish for another one."""
    await stage.client.close()
    done = await asyncio.to_thread(stage.command(), "daemon", "stop")
    stage.check(done.status == 0, f"the daemon does not stop: {done.err}")
