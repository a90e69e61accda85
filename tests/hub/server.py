"""A model hub on loopback: what `huggingface_hub` and `datasets` ask of the real one, with faults on request.

Large files are redirected to a second host name, as the real hub sends them to a content network: with `X-Repo-Commit`,
`X-Linked-Size` and `X-Linked-ETag`, which is their SHA-256. A fault belongs to a file of a repository: "slow" sends it
in steps, "stuck" stops after the first of them, "cut" ends the connection once in its middle, "short" sends less than
was announced, and "forbidden" refuses it. Everything that is asked for is kept in `Hub.log`.
"""

import hashlib
import json
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_reader"
STEP = 16384


@dataclass(frozen=True)
class Asked:
    """One request: what was asked for, from which byte on, as whom, and how it was answered."""

    method: str
    path: str
    range: str | None
    token: str | None
    status: int


@dataclass
class Repository:
    """Files by commit, and the commits that branches and tags name."""

    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit_of(self, revision):
        return self.refs.get(revision, revision if revision in self.commits else None)


class Hub:
    """The server, with its repositories; a context manager."""

    def __init__(self):
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.faults: dict[tuple[str, str], str] = {}
        self.log: list[Asked] = []
        self.begun = threading.Event()  # a file that is stuck has begun
        self.closing = threading.Event()
        self.connections: set[socket.socket] = set()

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):  # kept alive, they would be answered on
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.thread.join()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def put(self, kind, name, files, revision="main", *, gated=False):
        """Files of a repository at a revision, {path: bytes}; returns the commit."""
        repository = self.repositories.setdefault((kind, name), Repository())
        repository.gated |= gated
        told = json.dumps(
            [name, revision, sorted((path, hashlib.sha256(data).hexdigest()) for path, data in files.items())]
        )
        commit = hashlib.sha1(told.encode()).hexdigest()
        repository.commits[commit], repository.refs[revision] = files, commit
        self.blobs |= {hashlib.sha256(data).hexdigest(): data for data in files.values() if is_large(data)}
        return commit

    def asked(self, part, method="GET"):
        """Requests whose path has a part, in order."""
        return [asked for asked in self.log if part in asked.path and asked.method == method]


def entry(path, data):
    """A file as the listings of the hub describe it."""
    described = {"type": "file", "path": path, "size": len(data), "oid": git_sha(data)}
    if is_large(data):
        described["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return described


def is_large(data):
    """Whether the hub keeps a file apart from git: here, each that is not text."""
    return b"\0" in data


def git_sha(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.hub.connections.add(self.connection)

    def finish(self):
        self.hub.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.answer([unquote(part) for part in url.path.strip("/").split("/")])

    do_HEAD = do_GET

    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.query = json.loads(sent) if sent.startswith("{") else parse_qs(sent)
        self.answer([unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")])

    @property
    def token(self):
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def reply(self, status, body=b"", **headers):
        if not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        self.begin(status, {"Content-Length": str(len(body)), **headers})
        if self.command != "HEAD":
            self.wfile.write(body)

    def begin(self, status, headers):
        self.hub.log.append(Asked(self.command, self.path, self.headers.get("Range"), self.token, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def refuse(self, status, code, message, **headers):
        self.reply(status, {"error": message}, X_Error_Code=code, X_Error_Message=message, **headers)

    def answer(self, parts):
        if parts[0] == "cdn":
            return self.send_blob(parts[1], (parts[2], "/".join(parts[3:])))
        if parts[:2] == ["api", "whoami-v2"]:
            return self.reply(200, {"name": "reader", "type": "user"}) if self.token else self.reply(401, {})
        api = parts[0] == "api"
        kind = parts[1] if api else "datasets" if parts[0] == "datasets" else "models"
        rest = parts[2:] if api else parts[1:] if parts[0] == "datasets" else parts
        name, rest = "/".join(rest[:2]), rest[2:]
        repository = self.hub.repositories.get((kind, name))
        if repository is None:  # the real one does not tell a stranger whether there is a private one
            status, message = (404, "Repository not found") if self.token else (401, "Invalid username or password.")
            return self.refuse(status, "RepoNotFound", message)
        if rest[:1] == ["refs"]:
            named = [{"name": r, "ref": f"refs/heads/{r}", "targetCommit": c} for r, c in repository.refs.items()]
            return self.reply(200, {"branches": named, "tags": [], "converts": []})
        revision = rest[1] if len(rest) > 1 else "main"
        commit = repository.commit_of(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = repository.commits[commit]
        if api and rest[:1] in ([], ["revision"]):
            siblings = [{"rfilename": path} for path in files]
            about = {"id": name, "sha": commit, "private": False, "gated": repository.gated and "manual", "tags": []}
            return self.reply(200, {**about, "downloads": 0, "likes": 0, "siblings": siblings})
        if repository.gated and self.token != TOKEN:
            message = f"Access to {kind[:-1]} {name} is restricted and you are not in the authorized list."
            return self.refuse(403 if self.token else 401, "GatedRepo", message)
        if api and rest[0] == "tree":
            return self.list_tree(files, "/".join(rest[2:]))
        if api and rest[0] == "paths-info":
            return self.reply(
                200, [found for path in self.query["paths"] for found in described(files, path.strip("/"))]
            )
        if rest[0] == "resolve":
            return self.resolve(name, commit, files, "/".join(rest[2:]))
        self.refuse(404, "EntryNotFound", "Not found")

    def list_tree(self, files, folder):
        inside = {path: data for path, data in files.items() if not folder or path.startswith(folder + "/")}
        if folder and not inside:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        deep = self.query.get("recursive", ["false"])[0].lower() == "true"
        cut = len(folder) + 1 if folder else 0
        found = [entry(path, data) for path, data in inside.items() if deep or "/" not in path[cut:]]
        folders = {path[: path.index("/", cut)] for path in inside if "/" in path[cut:]}
        self.reply(200, found + [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in folders])

    def resolve(self, name, commit, files, path):
        if path not in files:
            return self.refuse(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
        if self.hub.faults.get((name.replace("/", "--"), path)) == "forbidden":
            return self.reply(403)
        data = files[path]
        if not is_large(data):
            return self.reply(200, data, ETag=f'"{git_sha(data)}"', X_Repo_Commit=commit)
        sha = hashlib.sha256(data).hexdigest()
        self.reply(
            302,
            Location=f"http://localhost:{self.server.server_port}/cdn/{sha}/{name.replace('/', '--')}/{path}",
            X_Repo_Commit=commit,
            X_Linked_Size=str(len(data)),
            X_Linked_ETag=f'"{sha}"',
        )

    def send_blob(self, sha, place):
        data, fault = self.hub.blobs[sha], self.hub.faults.get(place)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        first, last = asked.groups() if asked else ("", "")
        start = int(first) if first else max(len(data) - int(last), 0) if last else 0
        body = data[start : int(last) + 1] if first and last else data[start:]
        if fault == "short":
            body = body[: len(body) // 2]
        headers = {"Content-Length": str(len(body)), "Accept-Ranges": "bytes", "ETag": f'"{sha}"'}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{len(data)}"
        self.begin(206 if asked else 200, headers)
        if self.command == "HEAD":
            return
        if fault == "cut":
            del self.hub.faults[place]
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        try:
            for i in range(0, len(body), STEP if fault in ("slow", "stuck") else len(body) or 1):
                self.wfile.write(body[i : i + STEP] if fault in ("slow", "stuck") else body)
                if fault == "slow":
                    time.sleep(0.01)
                if fault == "stuck":
                    self.wfile.flush()
                    self.hub.begun.set()
                    self.hub.closing.wait(60)
                    return
        except (BrokenPipeError, ConnectionResetError):  # whoever asked is gone
            self.close_connection = True


def described(files, path):
    """What the hub says of a path: a file, a folder, or nothing."""
    if path in files:
        return [entry(path, files[path])]
    inside = any(file.startswith(path + "/") for file in files)
    return [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40}] if inside else []
