"""What Python files say without being run: frameworks imported, application objects, routes for health. Pure."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

Framework = Literal["flask", "fastapi", "django"]

# In order of preference. A path that only says "alive" comes after those that mean "ready".
HEALTH_PATHS = ("/healthz", "/health", "/readyz", "/ready", "/livez", "/live", "/up", "/ping", "/status")
ROUTE_CALLS = ("route", "get", "api_route", "add_url_rule", "path", "Route", "add_route")
MADE_BY: Mapping[str, Framework] = {"Flask": "flask", "FastAPI": "fastapi"}


class Target(msgspec.Struct, frozen=True):
    """An application object as servers name it: `module:name`. `factory`: the name is a function that makes it."""

    framework: Framework
    module: str
    name: str
    factory: bool = False


class Seen(msgspec.Struct, frozen=True):
    """What the project's Python files show."""

    imports: frozenset[str]
    targets: tuple[Target, ...]
    routes: frozenset[str]
    port: int | None  # of `app.run(port=…)` or `uvicorn.run(…, port=…)`
    runs_uvicorn: bool  # by `uvicorn.run(…)`: then `python main.py` is a server that stops well


def read_sources(files: Mapping[str, str]) -> Seen:
    """`files`: path in the project to text. A file that is not Python, or of a newer Python, shows nothing."""
    imports: set[str] = set()
    targets: list[Target] = []
    routes: set[str] = set()
    port: int | None = None
    runs_uvicorn = False
    for path, text in sorted(files.items(), key=lambda item: (item[0].count("/"), item[0])):
        tree = _parsed(text) if path.endswith(".py") else None
        if tree is None:
            continue
        imports |= set(_imports(tree))
        targets += _targets(tree, path, text)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            routes |= set(_route(call))
            port = port or _run_port(call)
            runs_uvicorn = runs_uvicorn or _is_uvicorn_run(call)
    return Seen(frozenset(imports), tuple(targets), frozenset(routes), port, runs_uvicorn)


def health_path(routes: frozenset[str]) -> str | None:
    """The route that most probably means "ready", with or without a slash at its end, as the application has it."""
    forms = (form for path in HEALTH_PATHS for form in (path, f"{path}/"))
    return next((form for form in forms if form in routes), None)


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _targets(tree: ast.Module, path: str, text: str) -> Iterator[Target]:
    module = module_of(path)
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=func)):
                framework = MADE_BY.get(_called(func))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=func)):
                framework = MADE_BY.get(_called(func))
            case ast.FunctionDef(name="create_app" | "make_app" as name):
                made = {_called(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
                framework = next((MADE_BY[call] for call in sorted(made) if call in MADE_BY), None)
                if framework:
                    yield Target(framework, module, name, factory=True)
                continue
            case _:
                continue
        if framework:
            yield Target(framework, module, name)
    settings = re.search(r"DJANGO_SETTINGS_MODULE['\"],\s*['\"]([\w.]+)['\"]", text)
    if settings and path.rpartition("/")[2] == "manage.py":
        # `mysite.settings` or `mysite.settings.production`: wsgi.py is beside, in the site's package.
        yield Target("django", f"{settings[1].partition('.settings')[0]}.wsgi", "application")


def module_of(path: str) -> str:
    """`src/hello/app.py` is `hello.app`: the folder `src` is where packages are, not one of them."""
    parts = path.removesuffix(".py").split("/")
    if parts[0] == "src" and len(parts) > 1:
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _called(func: ast.expr) -> str:
    match func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _route(call: ast.Call) -> Iterator[str]:
    match call:
        case ast.Call(func=func, args=[ast.Constant(value=str() as path), *_]) if _called(func) in ROUTE_CALLS:
            yield "/" + path.lstrip("/")


def _run_port(call: ast.Call) -> int | None:
    if _called(call.func) != "run":
        return None
    for keyword in call.keywords:
        match keyword:
            case ast.keyword(arg="port", value=ast.Constant(value=int() as port)) if 0 < port < 65536:
                return port
    return None


def _is_uvicorn_run(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id="uvicorn"), attr="run"):
            return True
        case _:
            return False
