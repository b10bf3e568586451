"""A lab for each test: it starts in a few milliseconds."""

from collections.abc import AsyncIterator

import pytest
from tests.lab.api.running import RunningLab, running_lab


@pytest.fixture
async def lab() -> AsyncIterator[RunningLab]:
    async with running_lab() as lab:
        yield lab
