"""The page as a whole, and its server on this machine alone."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.core.errors import UserError
from longtake.studio.generation import Workshop
from longtake.studio.shelf import Shelf

if TYPE_CHECKING:
    import gradio as gr

HOST = "127.0.0.1"
POLL_S = 0.05
NOBODY_ELSE = (  # whatever stands in the README of a model from the hub, the browser fetches nothing from elsewhere
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:\">"
)
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


@contextlib.contextmanager
def serve(shelf: Shelf, port: int) -> Iterator[str]:
    """Serve the page while the context lasts; yields its address. Its files go when it ends.

    Raises `UserError` if gradio is not installed or the port is taken.
    """
    check_port(port)
    with tempfile.TemporaryDirectory(prefix="longtake-studio-", ignore_cleanup_errors=True) as folder:
        os.environ |= {**QUIET, **no_proxy(os.environ), "GRADIO_TEMP_DIR": str(Path(folder) / "page")}
        workshop = Workshop(shelf, Path(folder))
        page = build_page(workshop)
        threading.Thread(target=shelf.warm_up, daemon=True).start()
        from longtake.studio import style

        try:
            _, address, _ = page.launch(
                server_name=HOST,
                server_port=port,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                mcp_server=False,
                footer_links=[],
                allowed_paths=[folder],
                theme=style.theme(),
                css=style.CSS,
                head=NOBODY_ELSE,
            )
        except OSError as error:
            raise UserError(f"port {port} is taken: choose another with --port") from error
        queue = page._queue  # it would look for work every millisecond, and for progress every ten
        queue.sleep_when_free = queue.progress_update_sleep_when_free = POLL_S
        try:
            yield address
        finally:
            workshop.close()
            # An open page keeps a connection, which the server would wait for; cutting it off is no error to tell of.
            page.server.force_exit = True
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            page.close(verbose=False)


def no_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with which this machine is reached directly, whatever proxy leads to others."""
    given = {name: environment.get(name, "") for name in ("no_proxy", "NO_PROXY")}
    return {name: f"{hosts},{HOST}" if hosts else HOST for name, hosts in given.items()}


def check_port(port: int) -> None:
    """Raise `UserError` unless the page can have the port."""
    if not 1 <= port < 2**16:
        raise UserError(f"--port must be in 1..65535, not {port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise UserError(f"port {port} needs more rights than this user has: choose another with --port") from error
        except OSError as error:
            raise UserError(f"port {port} is taken: choose another with --port") from error


def build_page(workshop: Workshop) -> gr.Blocks:
    """Build the page. Raises `UserError` if gradio is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a program for sound that nothing here needs
        try:
            import gradio as gr
        except ModuleNotFoundError as error:
            raise UserError("the page needs gradio: pip install 'longtake[studio]'") from error
    from longtake.studio.compare_tab import CompareTab
    from longtake.studio.make_tab import MakeTab
    from longtake.studio.run_tab import RunTab

    with gr.Blocks(title="longtake studio", analytics_enabled=False) as page:
        gr.HTML('<div class="title"><h1>longtake studio</h1></div>', padding=False)
        with gr.Tab("Make") as make_tab:
            MakeTab(workshop).build(page)
        with gr.Tab("Compare") as compare_tab:
            CompareTab(workshop).build()
        with gr.Tab("Runs") as run_tab:
            RunTab(workshop.shelf).build(run_tab, [make_tab, compare_tab])
    return page
