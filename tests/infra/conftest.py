"""What the tests of infrastructure share: Terraform with a provider, once a session."""

import os
from pathlib import Path

import pytest
from tests.infra.rig import Tools, terraform_tools


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    base: Path = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each worker's base lies in one folder of the session
    return terraform_tools(base / "terraform-tools")
