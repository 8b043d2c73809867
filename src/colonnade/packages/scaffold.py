"""A new package: the least that can be served."""

from __future__ import annotations

from pathlib import Path

from colonnade.wire.errors import SetupError

FILES = {
    "config.yaml": "model_name: {name}\npython_version: py311\n",
    "model/__init__.py": "",
    "model/model.py": '''\
class Model:
    def load(self):
        """Once, before the first request: read weights here."""
        self.greeting = "Hello"

    def predict(self, inputs):
        return {{"said": f"{{self.greeting}}, {{inputs['name']}}!"}}
''',
}


def scaffold(folder: Path, name: str = "") -> list[Path]:
    """The files that were written. Raises SetupError rather than touch what is there."""
    folder = folder.resolve()
    if taken := [each for each in FILES if (folder / each).exists()]:
        raise SetupError(f"{folder} holds {taken[0]} already", hint="name a new folder", code="exists")
    for each, text in FILES.items():
        file = folder / each
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(name=name or folder.name), encoding="utf-8")
    return [folder / each for each in FILES]
