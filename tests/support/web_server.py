"""Servers of HTTP on the loopback interface, with TLS or without, for the time of a `with`."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

from demo.broker import LOOPBACK
from transport.security import _readable


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer, certificate: str = "", key: str = "", client_ca: str = "") -> Iterator[str]:
    """Let a server answer; lends its address, which begins with https where it is given a certificate.

    Args:
        certificate, key: PEM.
        client_ca: PEM of who has signed the certificates of clients; without it none is asked for.
    """
    with server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with _readable(certificate) as certificate_file, _readable(key) as key_file:
                context.load_cert_chain(certificate_file, key_file)
            if client_ca:
                context.load_verify_locations(cadata=client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"{'https' if certificate else 'http'}://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
