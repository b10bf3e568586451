"""How an operation of the account says no: the API's own error, with the status it is answered with."""


class Problem(Exception):
    """One entry of the API's `errors` list. `field` is left out of the answer when there is none."""

    def __init__(self, reason: str, field: str | None = None, *, status: int = 400) -> None:
        super().__init__(f"{status} {field or ''} {reason}")
        self.status = status
        self.reason = reason
        self.field = field


class NotFound(Problem):
    """Any missing entity, whatever it is (recorded)."""

    def __init__(self) -> None:
        super().__init__("Not found", status=404)
