"""Checks the provider image for the doctor: its version, whether providers can download it, and its hash."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from requestor.errors import RequestorError
from requestor.image import ChosenImage, check_image_versions, choose_image, read_image
from requestor.setup.finding import SetupFinding


async def look_at_image(environment: Mapping[str, str], on_devnet: bool, download: bool) -> AsyncIterator[SetupFinding]:
    """Checks that the image that the environment names is of this version, and that providers can download it.

    Args:
        environment: the environment variables that name the image.
        on_devnet: True if the providers are those of a devnet.
        download: True downloads an image that is not on this machine, to check its hash.
    """
    try:
        image = await asyncio.to_thread(choose_image, environment)
    except RequestorError as error:
        yield SetupFinding(
            "image",
            "blocked",
            str(error),
            "build and push an image, or choose one (docs/public-network.md)",
        )
        return
    if image.info is not None:
        yield SetupFinding("image", "ok", f"{image.info.path}, of this version, {image.info.size / 1e6:.0f} MB")
    elif image.labels is not None:
        yield SetupFinding("image", "ok", f"{image.digest[:12]}…, of this version, says {image.url}")
    elif on_devnet:
        yield SetupFinding("image", "ok", "The devnet has none: tasks run on this machine's own system.")
    else:
        yield SetupFinding(
            "image", "warning", f"{image.digest[:12]}…: its version is not known, as its URL serves no part of it.",
            "set NIMA_GOLEM_IMAGE_FILE, or look with --download-image",
        )  # fmt: skip
    yield await _look_at_host(image, on_devnet, download)


async def _look_at_host(image: ChosenImage, on_devnet: bool, download: bool) -> SetupFinding:
    """Checks that providers can download the image, and that its host has the image that the demand names."""
    local = _is_local(image.url)
    elsewhere = "upload the image to a host that providers can reach, and name that URL in NIMA_GOLEM_IMAGE"
    if local and not on_devnet:
        return SetupFinding("image host", "blocked", f"{image.url} can be reached from this machine only.", elsewhere)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_connect=10, sock_read=30)) as session:
            async with session.head(image.url, allow_redirects=True) as head:
                size = int(head.headers.get("Content-Length", -1))
                if head.status != 200:
                    return SetupFinding("image host", "blocked", f"{image.url} answers {head.status}.", elsewhere)
            if image.info is not None and size not in (-1, image.info.size):
                found = f"{image.url} has {size} bytes, and the image has {image.info.size}."
                return SetupFinding("image host", "blocked", found, elsewhere)
            if not local and not download:
                return SetupFinding("image host", "ok", f"{image.url} can be downloaded; its hash was not checked")
            return await _download(session, image, on_devnet)
    except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
        reason = str(error) or type(error).__name__
        return SetupFinding("image host", "blocked", f"{image.url} cannot be downloaded: {reason}.", elsewhere)


async def _download(session: aiohttp.ClientSession, image: ChosenImage, on_devnet: bool) -> SetupFinding:
    with tempfile.NamedTemporaryFile(suffix=".gvmi") as file:
        digest = hashlib.new(f"sha3_{len(image.digest) * 4}")
        async with session.get(image.url) as response:
            async for chunk in response.content.iter_chunked(1 << 20):
                digest.update(chunk)
                file.write(chunk)
        file.flush()
        if digest.hexdigest() != image.digest.lower():
            found = f"{image.url} has the SHA3 {digest.hexdigest()}, and NIMA_GOLEM_IMAGE names {image.digest}."
            return SetupFinding(
                "image host", "blocked", found, "upload the image again, or name the hash of the image that is there"
            )
        if not on_devnet:
            try:
                info = await asyncio.to_thread(read_image, Path(file.name))
                check_image_versions(info.labels, image.url)
            except RequestorError as error:
                return SetupFinding("image host", "blocked", str(error), "build the image of this version")
    return SetupFinding("image host", "ok", f"{image.url} can be downloaded, and its hash is right")


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith(".local")
