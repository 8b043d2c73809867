"""TLS by the standard library: a gateway that speaks it, alone and with certificates that change."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest
from gateway_house import Client, House, post_bytes

from colonnade.gateway.__main__ import main
from colonnade.gateway.plane import Limits
from colonnade.gateway.server import Gateway, Source
from colonnade.gateway.tls import Certificate
from colonnade.wire.errors import BadSetting
from colonnade.wire.settings import GatewaySettings, HttpSettings

FILES = Path(__file__).parent / "tls"
"""Two certificates for 127.0.0.1 that each sign themselves, and that are good for a hundred years."""


def certificate(folder: Path, which: str) -> Certificate:
    for end in ("crt", "key"):
        shutil.copy(FILES / f"{which}.{end}", folder / f"gateway.{end}")
    return Certificate(folder / "gateway.crt", folder / "gateway.key")


async def secure(house: House, gateway: Gateway, which: str) -> Client:
    """A connection that trusts one certificate alone."""
    trusting = ssl.create_default_context(cafile=str(FILES / f"{which}.crt"))
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    port = int(gateway.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    client = Client(reader, writer)
    house.clients.append(client)
    return client


async def start(house: House, tmp_path: Path) -> Gateway:
    house.write(house.routes(await house.worker()))
    gateway = Gateway(
        Source(file=house.file),
        HttpSettings(),
        GatewaySettings(port=0, shutdown_timeout=0.2),
        limits=Limits(tick=0.02),
        certificate=certificate(tmp_path, "first"),
    )
    await gateway.start()
    house.gateways.append(gateway)
    return gateway


async def test_streams_and_answers_over_tls(house: House, tmp_path: Path) -> None:
    gateway = await start(house, tmp_path)
    assert gateway.url.startswith("https://127.0.0.1:")
    client = await secure(house, gateway, "first")
    chosen = client.writer.get_extra_info("ssl_object")
    assert (chosen.selected_alpn_protocol(), chosen.version() in ("TLSv1.2", "TLSv1.3")) == ("http/1.1", True)
    client.post(stream=True)
    assert (await client.reply()).body.endswith(b"data: [DONE]\n\n")
    client.post()
    assert (await client.reply()).status == 200
    client.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await client.reply()).code == "bad_http"
    assert await client.ended()


async def test_plain_text_gets_no_answer(house: House, tmp_path: Path) -> None:
    client = await house.client(await start(house, tmp_path))
    client.write(post_bytes())
    assert await client.ended()


async def test_a_certificate_is_exchanged_live(house: House, tmp_path: Path) -> None:
    gateway = await start(house, tmp_path)
    kept = await secure(house, gateway, "first")
    certificate(tmp_path, "second")
    gateway.reload()
    new = await secure(house, gateway, "second")
    (tmp_path / "gateway.key").write_text("no key")
    gateway.reload()
    still = await secure(house, gateway, "second")
    for client in (kept, new, still):
        client.post()
        assert (await client.reply()).status == 200
    with pytest.raises(ssl.SSLError):
        await secure(house, gateway, "first")


def test_what_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadSetting, match="cannot use the certificate"):
        Certificate(tmp_path / "none.crt", tmp_path / "none.key").context()
    encrypted = Certificate(FILES / "first.crt", FILES / "encrypted.key")
    with pytest.raises(BadSetting, match="encrypted"):
        encrypted.context()
    assert main(["--routes", "r.json", "--tls-cert", "c.pem"]) == 2
    assert "--tls-key" in capsys.readouterr().err
