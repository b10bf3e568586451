"""From what was typed to a release: a tag's digest or a revision's archive, and the settings of the config."""

from pathlib import Path

from celadon.adapters.archive import make_archive
from celadon.adapters.image_ref import ImageRef
from celadon.adapters.oci_registry import Login, OciRegistry
from celadon.cli.vault import Vault
from celadon.config.model import Config
from celadon.core.errors import Refused
from celadon.core.release import Release

SHORT = 10  # characters of a commit that name a version which nobody named


class Releases:
    """`folder` is where `source` is, `scratch` where archives lie until the command ends."""

    def __init__(self, config: Config, vault: Vault, *, root: Path, scratch: Path) -> None:
        self._config = config
        self._vault = vault
        self._folder = root / config.source if config.source is not None else None
        self._infra = root / config.hosts.terraform if config.hosts.terraform is not None else None
        self._scratch = scratch
        self.notes: tuple[str, ...] = ()  # what a person should know about the last one

    async def make(self, typed: str | None) -> Release:
        config = self._config
        version, artifact = await (self._image(typed) if config.image is not None else self._source(typed))
        return Release(
            app=config.app,
            version=version,
            artifact=artifact,
            runtime=config.runtime,
            command=config.command,
            container_port=config.port if config.runtime == "docker" else 0,
            env=tuple(sorted(config.env.clear.items())),
            secrets=await self._vault.fingerprints(config.env.secret),
            stop_timeout=config.rollout.stop_timeout.total_seconds(),
        )

    async def archive_of(self, release: Release) -> Path:
        """The archive of a release that may have been opened elsewhere: one commit gives the same bytes anywhere."""
        here = self._scratch / f"{release.artifact.partition(':')[2]}.tar"
        if here.is_file():
            return here
        if self._folder is not None:
            archive = await make_archive(self._folder, release.version, self._scratch, besides=self._infra)
            if archive.artifact == release.artifact:
                return archive.path
        raise Refused(
            f"{release.version} is not here as it was when its rollout opened",
            hint="git fetch --tags, or run this where it was opened · go back: celadon abort",
        )

    async def _source(self, typed: str | None) -> tuple[str, str]:
        assert self._folder is not None  # noqa: S101 - a rule of the config: image or source; for the type checker
        archive = await make_archive(self._folder, typed or "HEAD", self._scratch, besides=self._infra)
        self.notes = archive.notes
        return typed or archive.commit[:SHORT], archive.artifact

    async def _image(self, typed: str | None) -> tuple[str, str]:
        image = str(self._config.image)
        if typed is None:
            raise Refused("which version?", hint=f"a tag or digest of {image}: celadon deploy v1.1.0")
        reference = ImageRef.parse(image, typed)
        async with OciRegistry(login_of(self._config, self._vault)) as registry:
            return typed, reference.pinned(await registry.digest(reference))


def login_of(config: Config, vault: Vault) -> Login | None:
    if config.registry is None or (password := vault.get(config.registry.password)) is None:
        return None
    return Login(config.registry.username, password)
