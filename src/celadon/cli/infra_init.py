"""What `celadon init --terraform` writes: a small root configuration that uses the module, and its key files."""

import os
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

import msgspec

from celadon.cli import infra_root
from celadon.cli.infra_root import Wanted
from celadon.config.detect import Detected
from celadon.core.errors import Refused
from celadon.core.release import Colour

FOLDER = "infra"
COPY = "module"  # in FOLDER: the module's files, so that plain Terraform and teammates need nothing of this machine
LOWEST_PORT = 1024  # the module's own rule
IGNORED = f"""\
# State and plans hold secrets, and so do private keys.
.terraform/
*.tfstate
*.tfstate.*
*.tfplan
crash.log
crash.*.log
/{infra_root.PRIVATE}
/tls/
"""


def refuse_existing(root: Path) -> None:
    if os.path.lexists(root / FOLDER):
        hint = "move it away first; nothing was changed"
        raise Refused(f"{FOLDER} is already here, and init overwrites nothing", hint=hint, where=FOLDER)


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """What a root configuration is about. `imports`: blocks for what exists already."""

    name: str
    port: int
    region: str = "us-ord"
    imports: str = ""
    colours: dict[Colour, Wanted] = msgspec.field(default_factory=lambda: {colour: Wanted() for colour in Colour})


def write(root: Path, found: Detected, about: Root, *, module: str | None = None) -> tuple[str, ...]:
    """Paths of what was written. `module`: its source; None: a copy of it."""
    refuse_existing(root)
    folder = root / FOLDER
    texts = {
        "main.tf": _main(found, module or f"./{COPY}", about),
        "terraform.tfvars": _values(about.region, _own_keys()),
        ".gitignore": IGNORED,
        **({infra_root.IMPORTS: about.imports} if about.imports else {}),
    }
    try:
        folder.mkdir()
        written = [_new(folder / file, text) for file, text in texts.items()]
        infra_root.write_colours(folder, about.colours)
        infra_root.ensure_keys(folder)  # after the imports: adopted machines get none
        written += [folder / file for file in (infra_root.COLOURS, infra_root.PUBLIC, infra_root.PRIVATE)]
        if module is None:
            written += _copy_module(folder / COPY)
    except OSError as error:
        hint = "check the folder's owner and its free space"
        raise Refused(f"{FOLDER}: cannot be written: {error.strerror}", hint=hint, where=FOLDER) from None
    return tuple(_shown(root, written))


def _copy_module(folder: Path) -> list[Path]:
    folder.mkdir()
    source = resources.files("celadon.infra") / "module"
    files = sorted(each.name for each in source.iterdir() if each.is_file())
    for name in files:
        _new(folder / name, (source / name).read_text("utf-8"))
    return [folder]


def _new(path: Path, text: str) -> Path:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path


def _shown(root: Path, written: Iterable[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() + ("/" if path.is_dir() else "") for path in written]


def _own_keys() -> list[str]:
    """The operator's public keys, as `ssh` would offer them first."""
    found = []
    for name in ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"):
        path = Path("~/.ssh").expanduser() / name
        try:
            text = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text.startswith(("ssh-", "ecdsa-")) and "\n" not in text and len(text) < 4096:
            found.append(text)
    return found[:1]


def _main(found: Detected, source: str, about: Root) -> str:
    port = about.port if about.port >= LOWEST_PORT else 8000
    runtime = "docker" if found.dockerfile else "venv"
    return f"""\
# Written by `celadon init --terraform`. Values of this environment: terraform.tfvars. Plan and apply with
# `celadon infra plan` and `celadon infra apply`: they refuse what would hurt who serves. The token: LINODE_TOKEN.

terraform {{
  required_version = ">= 1.6"

  required_providers {{
    linode = {{
      source  = "linode/linode"
      version = "~> 3.13"
    }}
  }}
}}

module "celadon" {{
  source = {_quoted(source)}

  name              = {_quoted(_module_name(about.name))}
  region            = var.region
  runtime           = {_quoted(runtime)}
  app_port          = {port}
  health            = {{ path = {_quoted(found.health.value)} }}
  ssh_keys          = var.ssh_keys
  admin_cidrs       = var.admin_cidrs
  colours           = var.colours
  host_keys         = var.host_keys
  host_private_keys = var.host_private_keys

  # https:
  # tls_certificate = file("${{path.root}}/tls/fullchain.pem")
  # tls_private_key = file("${{path.root}}/tls/privkey.pem")
  # a domain: domain = "example.com", soa_email = "hostmaster@example.com" (or domain_id of one that Linode has)
}}

variable "region" {{
  type        = string
  description = "Where everything is. It cannot be changed later."
}}

variable "ssh_keys" {{
  type        = list(string)
  description = "Public SSH keys of those who deploy."
}}

variable "admin_cidrs" {{
  type        = list(string)
  description = "From where SSH is allowed."
}}

variable "colours" {{
  description = "Machines of each colour: {infra_root.COLOURS}; `celadon infra renew` raises the generation."
  default     = {{}}
}}

variable "host_keys" {{
  type        = map(string)
  description = "Public halves of the machines' host keys: {infra_root.PUBLIC}."
  default     = {{}}
}}

variable "host_private_keys" {{
  type        = map(string)
  description = "Private halves, for machines that are to be made: {infra_root.PRIVATE}."
  default     = {{}}
  sensitive   = true
}}

output "celadon" {{
  value = module.celadon.celadon
}}

output "known_hosts" {{
  value = module.celadon.known_hosts
}}

output "public_address" {{
  value = module.celadon.public_address
}}

output "monthly_cost" {{
  value = module.celadon.monthly_cost
}}
"""


def _values(region: str, keys: Sequence[str]) -> str:
    listed = ", ".join(_quoted(key) for key in keys)
    return f"""\
# Of this environment. `celadon check --infra` says what is wrong with them before anything is made.
region = {_quoted(region)} # linode-cli regions list; it cannot be changed later

ssh_keys = [{listed}] # public keys of those who deploy{"" if keys else ": none was found in ~/.ssh"}

admin_cidrs = [] # from where SSH is allowed, your CI's too, like ["203.0.113.7/32"]
"""


def _module_name(app: str) -> str:
    """3 to 24 characters: labels are made of it."""
    name = app[:24].rstrip("-")
    return name if len(name) >= 3 else f"{name}-app"


def _quoted(text: str) -> str:
    """An HCL string: `${` and `%{` would begin a template."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + escaped.replace("${", "$${").replace("%{", "%%{") + '"'
