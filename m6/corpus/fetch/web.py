"""One request to the web that can reach public addresses alone.

In: a URL out of somebody's data, so of anybody's choice. Out: an `Answer` with the bytes, the place it redirects to, or
the reason why there is nothing. A redirect is not followed here: it is one more URL to be checked.

The host is resolved once, every address that the name has must be public, and the connection goes to the very address
that was checked; a name that changes its address between check and use (DNS rebinding) gains nothing. Proxies that the
environment names are not used, for they would resolve the name again.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote, urlsplit

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_TUNNELS = (ipaddress.ip_network("2001::/32"), ipaddress.ip_network("2002::/16"))  # they hold an IPv4 address
_CHUNK = 65_536
_REDIRECTS = (301, 302, 303, 307, 308)
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_OPT_OUT = {"noai", "noimageai", "noindex", "noimageindex"}
_WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")  # "name: value", no agent
_IN_PATH = "%/:=&?~+!$,;'@()*[]|"  # left as they are; all else that is not a letter or digit is percent-encoded


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet: not this machine, its networks, or its cloud's metadata.
    IPv6 addresses that lead to an IPv4 address (mapped, NAT64, 6to4, Teredo) are refused with the rest."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast and not ip.is_reserved
    return ip.is_global and ip in _GLOBAL_UNICAST and not any(ip in tunnel for tunnel in _TUNNELS)


class Reach(NamedTuple):
    """Where requests may go."""

    allows: Callable[[str], bool] = is_public  # an IP address
    ports: frozenset[int] = frozenset({80, 443, 8080, 8443})  # where the web is served; empty: any


PUBLIC = Reach()


class Limits(NamedTuple):
    """How much of a server's time and words is taken."""

    timeout: float  # seconds for a connection, and between two pieces of the answer
    longest: float  # seconds for all
    most_bytes: int  # of the body


class Answer(NamedTuple):
    """What came of a request: the bytes, or where to ask instead, or the reason why there is neither."""

    status: int = 0  # of HTTP; 0 where no answer came
    reason: str = ""
    bytes: bytes = b""
    redirect: str = ""
    may_pass: bool = False  # another attempt may do better
    wait: float = 0.0  # seconds that the server asks to wait before it


class _RefusedError(Exception):
    """A URL that is not asked, with what is to be said of it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


def get(url: str, user_agent: str, limits: Limits, reach: Reach = PUBLIC, *, honour_opt_out: bool = True) -> Answer:
    """What the web has under a URL, asked once. Never raises for anything that a server or a URL does."""
    try:
        return _get(url, user_agent, limits, reach, honour_opt_out)
    except _RefusedError as refused:
        return refused.answer
    except TimeoutError:
        return Answer(reason="time-out", may_pass=True)
    except ssl.SSLCertVerificationError:
        return Answer(reason="certificate")
    except ssl.SSLError:
        return Answer(reason="TLS")
    except socket.gaierror as error:
        return Answer(reason="no such host", may_pass=error.errno == socket.EAI_AGAIN)
    except OSError:
        return Answer(reason="no connection", may_pass=True)
    except http.client.IncompleteRead:
        return Answer(reason="cut short", may_pass=True)
    except http.client.HTTPException:
        return Answer(reason="bad answer")
    except ValueError:  # of urlsplit, of the codec for names of hosts
        return Answer(reason="bad URL")


def host_of(url: str) -> str:
    """The host and port of a URL, for counting; "" if it has none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _get(url: str, user_agent: str, limits: Limits, reach: Reach, honour_opt_out: bool) -> Answer:
    deadline = time.monotonic() + limits.longest
    parts = urlsplit(url.strip())
    host, port = _checked(parts.scheme, parts.hostname, parts.port, "@" in parts.netloc, reach)
    headers = {
        "Host": (f"[{host}]" if ":" in host else host) + (f":{parts.port}" if parts.port else ""),
        "User-Agent": user_agent,
        "Accept": "image/*,*/*;q=0.5",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    path = quote(parts.path or "/", _IN_PATH) + (f"?{quote(parts.query, _IN_PATH)}" if parts.query else "")
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(_connect(host, port, reach, limits, deadline))
        wire = _Wire(plain, limits.timeout, deadline)
        if parts.scheme == "https":
            wire.secure(stack, host)
        connection = http.client.HTTPConnection(host, port)
        connection.sock = wire
        connection.request("GET", path, headers=headers)
        return _read(connection.getresponse(), user_agent, limits.most_bytes, honour_opt_out)


def _checked(scheme: str, host: str | None, port: int | None, has_user: bool, reach: Reach) -> tuple[str, int]:
    """Host, as DNS and TLS take it, and port of a URL that may be asked."""
    if scheme not in ("http", "https"):
        raise _RefusedError(Answer(reason="not http"))
    if has_user:
        raise _RefusedError(Answer(reason="password in the URL"))
    if not host:
        raise _RefusedError(Answer(reason="bad URL"))
    port = port or (443 if scheme == "https" else 80)
    if reach.ports and port not in reach.ports:
        raise _RefusedError(Answer(reason="port"))
    return host.encode("idna").decode(), port


def _connect(host: str, port: int, reach: Reach, limits: Limits, deadline: float) -> socket.socket:
    """A socket that is connected to a checked address of the host; the addresses are tried in turn."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))
    if not all(reach.allows(address) for _, address in addresses):
        raise _RefusedError(Answer(reason="private address"))
    error: OSError = ConnectionError("no address")
    for family, address in addresses:
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(_left(limits.timeout, deadline))
            plain.connect((address, port))
            return plain
        except OSError as caught:
            plain.close()
            error = caught
    raise error


def _left(timeout: float, deadline: float) -> float:
    """Seconds that the next wait may take."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return min(left, timeout)


class _Wire(io.RawIOBase):
    """A connected socket as `http.client` uses one, with a limit on each wait and on all of them: a server that sends a
    byte now and then keeps nobody. Whoever opened the socket closes it."""

    def __init__(self, plain: socket.socket, timeout: float, deadline: float) -> None:
        self._socket, self._timeout, self._deadline = plain, timeout, deadline

    def secure(self, stack: contextlib.ExitStack, host: str) -> None:
        """Speak TLS from here on, with the name of the host checked."""
        self._socket.settimeout(_left(self._timeout, self._deadline))
        self._socket = stack.enter_context(_tls().wrap_socket(self._socket, server_hostname=host))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._socket.settimeout(_left(self._timeout, self._deadline))
        return self._socket.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(_left(self._timeout, self._deadline))
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        pass


_contexts: list[ssl.SSLContext] = []  # one a process: it reads all authorities


def _tls() -> ssl.SSLContext:
    if not _contexts:
        _contexts.append(ssl.create_default_context())
    return _contexts[0]


def _read(response: http.client.HTTPResponse, user_agent: str, most_bytes: int, honour_opt_out: bool) -> Answer:
    status, headers = response.status, response.headers
    if status in _REDIRECTS and headers["Location"]:
        return Answer(status, redirect=headers["Location"])
    if status != 200:
        return Answer(status, str(status), may_pass=status in _MAY_PASS, wait=_retry_after(headers))
    if honour_opt_out and opted_out(headers, user_agent):
        return Answer(status, "opted out")
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        return Answer(status, "compressed")  # nobody asked for it, and it may unpack to anything
    length = response.length  # None: until the end
    if length is not None and length > most_bytes:
        return Answer(status, "too large")
    body = bytearray()
    while piece := response.read(min(_CHUNK, most_bytes + 1 - len(body))):
        body += piece
    if len(body) > most_bytes:
        return Answer(status, "too large")
    if length is not None and len(body) < length:
        return Answer(status, "cut short", may_pass=True)
    return Answer(status, "" if body else "empty", bytes(body))


def opted_out(headers: Message, user_agent: str) -> bool:
    """Whether X-Robots-Tag forbids the use, for everyone or for the first word of `user_agent`; or whether the rights
    of text and data mining are reserved (https://www.w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240510/).

    "otherbot: noindex, noai" binds otherbot alone; what stands before a first name binds everyone.
    """
    if any(value.strip() == "1" for value in headers.get_all("TDM-Reservation", [])):
        return True
    ours = re.split(r"[\s/;(]", user_agent.strip(), maxsplit=1)[0].lower()
    for value in headers.get_all("X-Robots-Tag", []):
        agent = "*"
        for directive in value.lower().split(","):
            before, colon, after = (piece.strip() for piece in directive.partition(":"))
            if colon and re.fullmatch(r"[\w.*/-]+", before) and before not in _WITH_VALUE:
                agent, before = before, after
            if agent in ("*", ours) and before in _OPT_OUT:
                return True
    return False


def _retry_after(headers: Message) -> float:
    """Seconds that the server asks to wait, given as a number or as a date; 0 if it does not."""
    value = (headers["Retry-After"] or "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
