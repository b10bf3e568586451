"""The certificate as a file: signed when it is written, judged when it is read.

The signature is a comment behind the page, so that there is one file to send on. What is signed is every byte before
that comment: two lines of `sed` take both apart for `ssh-keygen -Y verify`. A signature in `FILE.sig`, as
`ssh-keygen -Y sign` writes it, is as good.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from celadon.adapters.signature import BEGIN, LARGEST, NAMESPACE, Verdict, judge, signers
from celadon.config.project import Project
from celadon.core.errors import CeladonError, Refused

OPEN, CLOSE = b"<!-- ssh signature\n", b"-->\n"
MOST = 64 * 1024 * 1024  # bytes of a file that are read; a certificate has a few hundred thousand
NO_KEY = "no SSH key is in the agent, or in a file without a passphrase (ssh-add it, then write it again)"


async def signed(
    page: Callable[..., str], named: Sequence[Path], environ: Mapping[str, str], project: Project
) -> tuple[bytes, str, str]:
    """(the file, the key's fingerprint, why it is not signed). `page(signer=…)` is told who will sign it."""
    why = NO_KEY
    async with signers(environ, project.allowed_signers, named) as keys:
        for key in keys:
            data = page(signer=key.fingerprint).encode()
            try:
                return data + OPEN + await key.sign(data) + CLOSE, key.fingerprint, ""
            except (ValueError, TimeoutError) as error:
                why = f"the agent declined to use {key.fingerprint}: {error or 'no answer'}"
    return page(signer="").encode(), "", why


def read(file: Path, known: Path) -> Verdict:
    """Whether the file is as its signer left it, and whether the signer is known."""
    data, inside = _apart(_bytes(file, MOST))
    if inside is not None:
        return judge(data, inside, known)
    beside = file.with_name(f"{file.name}.sig")
    if not beside.is_file():
        return Verdict(judgement="unsigned")
    return judge(data, _bytes(beside, LARGEST), known)


def refusal(file: Path, found: Verdict) -> CeladonError:
    match found.judgement:
        case "unsigned":
            text, hint = "it is not signed", f"ssh-keygen -Y sign -f KEY -n {NAMESPACE} {file}"
        case "unknown signer":
            text = f"unchanged since it was signed, but {found.fingerprint} is nobody's in .celadon/allowed_signers"
            hint = f"ask the signer, then add: NAME {found.line}"
        case _:
            text = "it is not what was signed: it was changed afterwards, or the signature is another's"
            hint = "ask whoever wrote it for it again, or: celadon history ROLLOUT --html FILE"
    return Refused(f"{file}: {text}", hint=hint, where=str(file))


def _apart(whole: bytes) -> tuple[bytes, bytes | None]:
    data, mark, signature = whole.rpartition(OPEN)
    if not mark:
        return whole, None
    # Behind the signature there is nothing: text there would be shown, and not be signed.
    return data, signature.removesuffix(CLOSE) if signature.startswith(BEGIN) and signature.endswith(CLOSE) else b""


def _bytes(file: Path, most: int) -> bytes:
    try:
        with file.open("rb") as opened:
            found = opened.read(most + 1)
    except OSError as error:
        raise Refused(f"{file}: cannot be read: {error.strerror}", hint="the FILE of --html") from None
    if len(found) > most:
        raise Refused(f"{file}: larger than {most:,} bytes: not a certificate", hint="the FILE of --html")
    return found
