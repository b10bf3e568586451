"""The person behind the token: SSH keys and personal access tokens."""

import hashlib
import re
import secrets

from celadon.lab.world.account import Account, State
from celadon.lab.world.objects import Json, SshKey, Token
from celadon.lab.world.problems import Problem

ALL_SCOPES = "*"
SCOPES = ("account", "databases", "domains", "events", "firewall", "images", "ips", "linodes", "nodebalancers", "vpc")
LEVELS = ("read_only", "read_write")
KEY = re.compile(r"(ssh-(rsa|dss|ed25519)|ecdsa-sha2-nistp\d+|sk-[\w-]+@openssh\.com) [A-Za-z0-9+/=]{32,}( .*)?")


def add_key(account: Account, body: Json) -> SshKey:
    key = (body.get("ssh_key") or "").strip()
    if not KEY.fullmatch(key):
        raise Problem("SSH Key key-type must be ssh-dss, ssh-rsa, ecdsa-sha2-nistp*, ssh-ed25519", "ssh_key")
    label = body.get("label")
    if not label:
        raise Problem("label is required", "label")
    made = account.put(SshKey(id=account.new_id(), label=label, ssh_key=key, created=account.stamp()))
    account.note("profile_update", {"id": 1, "type": "profile", "label": account.state.username, "url": "/v4/profile"})
    return made


def update_key(account: Account, key_id: int, body: Json) -> SshKey:
    key = account.find(SshKey, key_id)
    return account.amend(key, {"label": body["label"]} if body.get("label") else {})


def create_token(account: Account, body: Json) -> tuple[Token, str]:
    """The token and its secret, which is shown this once."""
    secret = secrets.token_hex(32)
    return admit(account, secret, body.get("scopes") or ALL_SCOPES, body.get("label") or ""), secret


def admit(account: Account, secret: str, scopes: str, label: str) -> Token:
    """Let `secret` in with these scopes; the same secret again changes its scopes."""
    digest = digest_of(secret)
    known = next((token for token in account.all(Token) if token.digest == digest), None)
    return account.put(
        Token(
            id=known.id if known else account.new_id(),
            label=label,
            scopes=clean_scopes(scopes),
            digest=digest,
            shown=secret[:4],
            created=account.stamp(),
        )
    )


def token_for(state: State, secret: str) -> Token | None:
    digest = digest_of(secret)
    return next((token for token in state.all(Token) if token.digest == digest), None)


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def clean_scopes(text: str) -> str:
    if text.strip() == ALL_SCOPES:
        return ALL_SCOPES
    scopes = text.replace(",", " ").split()
    for scope in scopes:
        name, _, level = scope.partition(":")
        if name not in SCOPES or level not in LEVELS:
            raise Problem(f"Invalid scope {scope}", "scopes")
    return " ".join(sorted(set(scopes)))


def permits(scopes: str, needed: str) -> bool:
    """Whether a token's scopes cover one like `linodes:read_only`. To write includes to read."""
    name, _, level = needed.partition(":")
    held = scopes.split()
    return scopes == ALL_SCOPES or needed in held or (level == "read_only" and f"{name}:read_write" in held)
