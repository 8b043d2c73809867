"""docs/settings.md, made from the registry. `python -m colonnade.wire.settings_page > docs/settings.md` writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from colonnade.wire.flags import flags_of
from colonnade.wire.sections import SECTIONS
from colonnade.wire.setting import Setting

_HEAD = """\
# Settings

Made from `colonnade.wire.sections` by `python -m colonnade.wire.settings_page`; a test keeps the two equal.

A value comes from the first of these that has one:

1. a flag: `--threads 2` (a switch is `--auth` or `--no-auth`),
2. the environment: `COLONNADE_ENGINE_THREADS=2`,
3. the project's file, `colonnade.toml` in the working directory,
4. the user's file, `config.toml` in the state folder,
5. the default.

`colonnade config show --origin` says where each value came from, with the file's line. A name that does not exist is an
error that names the closest one that does, in a flag, a variable or a file alike. Values are written in
[human units](units.md). A file looks like this:

```toml
[gateway]
port = 9000

[engine]
kv_memory = "2GiB"
prefix_cache = true
```
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(name) for name in SECTIONS)])


def _section(name: str) -> str:
    title, doc = (f"## {name}" if name else "## The state folder"), SECTIONS[name].__doc__ or ""
    rows = "\n".join(_row(each) for each in flags_of(name))
    head = "| setting | flag | default | kind | what it does |\n|---|---|---|---|---|"
    return f"{title}\n\n{doc}\n\n{head}\n{rows}\n"


def _row(each: Setting) -> str:
    flag = f"`{each.flag}`" + (f" `{each.flag.replace('--', '--no-', 1)}`" if each.is_switch else "")
    default = f"`{each.default_text}`" if each.default_text else "empty"
    return f"| `{each.key}` | {flag} | {default} | {', '.join(_kind(each))} | {each.doc} |"


def _kind(each: Setting) -> Iterator[str]:
    yield each.kind.name.replace("|", " or ")
    if each.at_least is not None:
        yield f"at least {each.kind.format(each.at_least)}"
    if each.at_most is not None:
        yield f"at most {each.kind.format(each.at_most)}"


if __name__ == "__main__":
    sys.stdout.write(page())
