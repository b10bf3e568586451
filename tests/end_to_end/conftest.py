"""The stage that the scenes of a worker share. It ends with the last of them, so it costs other tests nothing."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.shared import SharedStage


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStage]:
    with SharedStage(tmp_path_factory.mktemp("shared")) as stage:
        yield stage
