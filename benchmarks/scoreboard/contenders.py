"""Who takes part, in the order of the table's columns."""

from benchmarks.scoreboard.ansible import Ansible, AnsibleDrained
from benchmarks.scoreboard.celadon_itself import Celadon
from benchmarks.scoreboard.compose import Compose
from benchmarks.scoreboard.contender import Contender
from benchmarks.scoreboard.control import Control
from benchmarks.scoreboard.deploy_sh import DeploySh
from benchmarks.scoreboard.stop_and_run import StopAndRun

CONTENDERS: dict[str, Contender] = {
    each.name: each for each in (Control(), Celadon(), DeploySh(), StopAndRun(), Compose(), Ansible(), AnsibleDrained())
}
