"""Our engine as an object, in a package, a chain step or any other Python program.

    from colonnade.llm import Engine

    with Engine("colonnade-tiny") as engine:
        engine.generate("Two and two is", max_tokens=4, seed=7).text
        for piece in engine.chat_stream("Hello!"): ...
        await engine.aio.chat("Hello!", schema={"type": "object"})

What it answers is what `colonnade serve` answers over HTTP: requests have the same fields, and take the same way.
"""

from colonnade.llm.asking import Answer
from colonnade.llm.engine import AsyncEngine, Engine

__all__ = ["Answer", "AsyncEngine", "Engine"]
