"""The NodeBalancer's data plane: HAProxy carries the traffic, the emulator decides who gets it.

`modes` (pure) says which server takes traffic, `verdict` (pure) what a row of checks means, `settings` (pure)
writes HAProxy's file; `check` dials backends, `arrivals` holds changes
back for their delay, `haproxy` runs one process, `port` joins them for one balancer
config, `plane` for all. Nothing here knows the API.
"""

from celadon.lab.plane.modes import PlaneSwitches
from celadon.lab.plane.plane import HaproxyPlane

__all__ = ["HaproxyPlane", "PlaneSwitches"]
