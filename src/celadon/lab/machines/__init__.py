"""The lab's instances: an SSH server each on its own loopback address, with a home and processes of its own.

`loopback` keeps them all, `machine` is one, `home` its files and environment, `ssh` its server, `session` one
command (`terminal`: on a terminal), `wire` its network cable, `engine` the Docker Engine that it shares.
"""

from celadon.lab.machines.loopback import LoopbackMachines

__all__ = ["LoopbackMachines"]
