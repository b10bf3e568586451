"""A stand-in for the Terraform provider linode/linode, for tests: a double, and it says so.

The real provider is in none of the registries that tests reach. This one has the real one's schema (version 3.13), its
replacements and defaults, and its order of API calls; it speaks to a lab on loopback and to nothing else.
Run by Terraform itself, or with `--dev`, which prints the line that makes Terraform use a running one.
"""

import sys
from typing import Any

import tf.provider
from tests.infra.stand_in.servicer import Servicer
from tf import runner

ADDRESS = "registry.terraform.io/linode/linode"


class StandIn:
    """What the package's runner asks of a provider: its name. The servicer knows everything else."""

    def full_name(self) -> str:
        return ADDRESS


class EndsWhenToldTo(runner._ShutdownInterceptor):  # type: ignore[misc]  # the package has no types
    """After Ctrl-C, StopProvider asks for an early end of what is under way. The package ends the whole process on it,
    and what was being made would be lost; the real provider answers, and only Shutdown ends it.
    """

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        if details.method == "/tfplugin6.Provider/StopProvider":
            return continuation(details)
        return super().intercept_service(continuation, details)


def main() -> None:
    runner._ShutdownInterceptor = EndsWhenToldTo
    tf.provider.ProviderServicer = Servicer
    runner.run_provider(StandIn(), sys.argv)


if __name__ == "__main__":
    main()
