# SPDX-License-Identifier: Apache-2.0
"""An OpenID Connect provider over HTTP, in a thread, that can be made to fail in all ways."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class IdentityProvider:
    """A context. `keys` is what it publishes; `asked` the paths; `behaviour` how it answers."""

    def __init__(self, *keys):
        self.keys = list(keys)
        self.asked = []
        self.behaviour = "answers"
        self.configuration = {}
        self._released = threading.Event()

    def __enter__(self):
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.answer(self)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *error):
        self.die()

    def die(self):
        self._released.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def release(self):
        """Let those go on that hang."""
        self._released.set()

    def answer(self, request):
        self.asked.append(request.path)
        if self.behaviour == "hangs":
            self._released.wait(20)
        if self.behaviour == "dies":
            request.connection.close()
            return
        documents = {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                **self.configuration,
            },
            "/keys": {"keys": self.keys},
        }
        body = json.dumps(documents.get(request.path)).encode()
        status = 200
        if self.behaviour == "fails":
            status, body = 500, b"no"
        elif self.behaviour == "nonsense":
            body = b"<html>"
        elif self.behaviour == "no keys":
            body = b'{"keys": {}}'
        elif self.behaviour == "deep":
            body = b"[" * 100000
        elif self.behaviour == "large":
            body = b" " * (2 << 20)
        if self.behaviour.startswith("redirects to "):
            request.send_response(302)
            request.send_header("Location", self.behaviour.removeprefix("redirects to "))
            request.send_header("Content-Length", "0")
            request.end_headers()
            self.behaviour = "answers"
            return
        if self.behaviour == "trickles headers":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not self._released.wait(0.05):
                try:
                    request.wfile.write(b"x")
                except OSError:
                    break
            return
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        try:
            if self.behaviour == "trickles":
                for byte in body:
                    request.wfile.write(bytes([byte]))
                    if self._released.wait(0.05):
                        break
            else:
                request.wfile.write(body)
        except OSError:
            pass
