import os
import signal
import socket
import subprocess
import sys
from urllib.request import ProxyHandler, build_opener

import pytest


def test_a_port_that_is_taken(longtake):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = longtake("studio", "--port", port).error_line
    assert line == f"port {port} is taken: choose another with --port"


def test_ports_that_are_none(longtake):
    assert longtake("studio", "--port", 70000).error_line == "--port must be in 1..65535, not 70000"


def test_without_gradio(longtake, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert longtake("studio").error_line == "the page needs gradio: pip install 'longtake[studio]'"


def test_a_model_that_is_not_there(longtake):
    assert (
        "no model 'glober-weizman'; did you mean 'glober-weizmann'?" in longtake("studio", "glober-weizman").error_line
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_cleanly(tmp_path, number):
    pytest.importorskip("gradio")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "longtake", "studio", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a proxy that is not there must not matter
        env={**os.environ, "TMPDIR": str(tmp_path), "http_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""},
    )
    assert process.stdout.readline() == f"longtake studio is at http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
    assert build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/").status == 200
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "ended\n", "")
    assert list(tmp_path.glob("longtake-studio-*")) == []
