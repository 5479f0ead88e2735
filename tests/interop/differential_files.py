"""What is asked about files and HTTP: the table."""

from interop.differential import Ask, Body, Look, Row
from interop.differential_asks import encoded
from interop.differential_tree import Fifo, File, Files, Folder, Link
from sansrelay.jsonrpc import JsonValue

_TREE: Files = {
    b"f": File(b"hello", 0o640),
    b"empty": File(),
    b"bytes": File(b"\x00\xff\xfe\n"),
    "é".encode(): File(b"e"),
    b"d": Folder(),
    b"d/x": File(b"x"),
    b"d/lx": Link("x"),
    b"d/gone": Link("nothing"),
    b"d/fifo": Fifo(),
    b"d/\xff\xe9z": File(b"bad name"),
    b"d/sub": Folder(),
    b"d/sub/y": File(b"y", 0o755),
    b"hollow": Folder(),
    b"lf": Link("f"),
    b"ld": Link("d"),
    b"gone": Link("nothing"),
    b"loop": Link("loop"),
    b"loop1": Link("loop2"),
    b"loop2": Link("loop1"),
    b"fifo": Fifo(),
    b"shut": Folder(0o000),
    b"locked": File(b"secret", 0o000),
    b"fixed": Folder(0o555),
}

_LONG = "a" * 300
_PLACES = {
    "a file": "{root}/f",
    "a directory": "{root}/d",
    "an empty file": "{root}/empty",
    "bytes": "{root}/bytes",
    "a name beyond ASCII": "{root}/é",
    "a link to a file": "{root}/lf",
    "a link to a directory": "{root}/ld",
    "a link to nothing": "{root}/gone",
    "a loop of one link": "{root}/loop",
    "a loop of two links": "{root}/loop1",
    "nothing": "{root}/none",
    "nothing, far below": "{root}/none/none",
    "below a file": "{root}/f/x",
    "a slash behind a file": "{root}/f/",
    "a slash behind a directory": "{root}/d/",
    "up again": "{root}/d/../f",
    "up again through a link": "{root}/ld/../f",
    "up again from nothing": "{root}/none/../f",
    "dots and slashes": "{root}//./f",
    "too long a name": "{root}/" + _LONG,
    "too long a path": "{root}/" + "d/../" * 1000 + "f",
    "in a directory that is shut": "{root}/shut/x",
    "a file that is locked": "{root}/locked",
    "a relative path": "f",
    "an empty path": "",
    "a dot": ".",
    "a tilde": "~/f",
    "a path with NUL": "{root}/\0",
    "a URI": "file://{root}/f",
    "another URI": "http://localhost/",
}
_NO_PATHS: dict[str, JsonValue] = {"a number": 7, "null": None, "a list": ["/"], "true": True}


def _path(method: str, path: JsonValue, **params: JsonValue) -> Ask:
    return Ask(method, {"path": path, "sandbox": None, **params})


_LOOKS = ("fs/getMetadata", "fs/readFile", "fs/readDirectory")
"""The methods that change nothing."""


def _looks(what: str, **params: JsonValue) -> Row:
    """A row that looks in every way."""
    return Row(name=f"look at {what}", files=_TREE, steps=tuple(Ask(m, params) for m in _LOOKS))


LOOKS = (
    *(_looks(what, path=place, sandbox=None) for what, place in _PLACES.items()),
    *(_looks(f"{what} for a path", path=path, sandbox=None) for what, path in _NO_PATHS.items()),
    _looks("no path", sandbox=None),
    _looks("nothing, without sandbox", path="{root}/none"),
    _looks("nothing, with an empty sandbox", path="{root}/none", sandbox={}),
)


def _change(what: str, ask: Ask) -> Row:
    """A row for a request that may change something, with what is there afterwards."""
    return Row(name=what, files=_TREE, steps=(ask, Look()))


def _write(path: str, data: JsonValue = "bmV3") -> Ask:
    return _path("fs/writeFile", path, dataBase64=data)


def _create(path: str, recursive: JsonValue) -> Ask:
    return _path("fs/createDirectory", path, recursive=recursive)


def _remove(path: str, recursive: JsonValue = False, force: JsonValue = False) -> Ask:
    return _path("fs/remove", path, recursive=recursive, force=force)


def _copy(source: str, destination: str, recursive: JsonValue = False) -> Ask:
    return Ask(
        "fs/copy",
        {
            "sourcePath": source,
            "destinationPath": destination,
            "recursive": recursive,
            "sandbox": None,
        },
    )


WRITES = (
    *(
        _change(f"writeFile: {what}", _write(_PLACES[what]))
        for what in (
            "a file",
            "a directory",
            "a link to a file",
            "a link to nothing",
            "a loop of one link",
            "nothing",
            "nothing, far below",
            "below a file",
            "a slash behind a file",
            "up again through a link",
            "in a directory that is shut",
            "a file that is locked",
            "too long a name",
            "a relative path",
            "a path with NUL",
        )
    ),
    _change("writeFile: nothing at all", _write("{root}/f", "")),
    _change("writeFile: in a directory that is fixed", _write("{root}/fixed/x")),
    *(
        _change(f"writeFile: data that is {what}", _write("{root}/f", data))
        for what, data in {
            "not base64": "!!",
            "base64 without its end": "eA",
            "base64 with a newline": "eA==\n",
            "base64 for URLs": "_-8=",
            "base64 with bits to spare": "eB==",
            "null": None,
            "a number": 7,
        }.items()
    ),
    _change("writeFile: no data", _path("fs/writeFile", "{root}/f")),
    _change("writeFile: a megabyte", _write("{root}/new", encoded(bytes(1_000_000)))),
)

_CREATED = tuple(
    _change(f"createDirectory: {what}, recursive {recursive}", _create(path, recursive))
    for what, path in {
        "nothing": "{root}/new",
        "nothing, far below": "{root}/new/a/b",
        "a directory": "{root}/d",
        "a file": "{root}/f",
        "a link to a directory": "{root}/ld",
        "a link to nothing": "{root}/gone",
        "below a file": "{root}/f/x",
        "a loop": "{root}/loop",
    }.items()
    for recursive in (True, False, None)
)

CREATIONS = (
    *_CREATED,
    _change("createDirectory: without recursive", _path("fs/createDirectory", "{root}/a/b")),
    _change("createDirectory: text for recursive", _create("{root}/a", "yes")),
    _change("createDirectory: one for recursive", _create("{root}/a", 1)),
    _change("createDirectory: a relative path", _create("a", True)),
    _change("createDirectory: in a directory that is fixed", _create("{root}/fixed/a", True)),
)

_REMOVED = tuple(
    _change(
        f"remove: {what}, recursive {recursive}, force {force}", _remove(path, recursive, force)
    )
    for what, path in {
        "a file": "{root}/f",
        "a directory": "{root}/d",
        "an empty directory": "{root}/hollow",
        "a link to a directory": "{root}/ld",
        "nothing": "{root}/none",
        "below a file": "{root}/f/x",
    }.items()
    for recursive, force in ((False, False), (True, True))
)

REMOVALS = (
    *_REMOVED,
    *(
        _change(f"remove: {what}", _remove(path))
        for what, path in {
            "a link to nothing": "{root}/gone",
            "a loop": "{root}/loop",
            "below a loop": "{root}/loop/x",
            "a pipe": "{root}/fifo",
            "a link with a slash": "{root}/ld/",
            "a relative path": "f",
            "from a directory that is shut": "{root}/shut/x",
        }.items()
    ),
    _change("remove: nothing, recursive", _remove("{root}/none", recursive=True)),
    _change("remove: nothing, force", _remove("{root}/none", force=True)),
    _change("remove: null for both", _remove("{root}/d", None, None)),
    _change("remove: neither", _path("fs/remove", "{root}/d")),
    _change("remove: text for recursive", _remove("{root}/d", "yes")),
)

COPIES = (
    *(
        _change(
            f"copy: {source} to {destination}, recursive {recursive}",
            _copy(f"{{root}}/{source}", f"{{root}}/{destination}", recursive),
        )
        for source, destination in (
            ("f", "new"),
            ("f", "d/x"),
            ("f", "d"),
            ("f", "ld"),
            ("f", "lf2/x"),
            ("lf", "new"),
            ("gone", "new"),
            ("loop", "new"),
            ("d", "new"),
            ("d", "hollow"),
            ("d", "f"),
            ("d", "d/new"),
            ("ld", "new"),
            ("none", "new"),
            ("d/sub/y", "f"),
            ("fifo", "new"),
        )
        for recursive in (False, True)
    ),
    _change("copy: to a relative path", _copy("{root}/f", "x")),
    _change("copy: from a relative path", _copy("f", "{root}/x")),
    _change("copy: to itself", _copy("{root}/f", "{root}/f")),
    _change("copy: to itself through a link", _copy("{root}/f", "{root}/lf")),
    _change("copy: a directory to itself", _copy("{root}/d", "{root}/d", True)),
    _change("copy: null for recursive", _copy("{root}/f", "{root}/new", None)),
    _change("copy: no destination", Ask("fs/copy", {"sourcePath": "{root}/f", "recursive": False})),
    _change(
        "copy: without recursive",
        Ask("fs/copy", {"sourcePath": "{root}/f", "destinationPath": "{root}/new"}),
    ),
    _change("copy: to a directory that is fixed", _copy("{root}/f", "{root}/fixed/f")),
)

OTHERS = (
    Row(name="getMetadata: the root", steps=(_path("fs/getMetadata", "/dev"),)),
    Row(name="getMetadata: a pipe", files=_TREE, steps=(_path("fs/getMetadata", "{root}/fifo"),)),
    Row(name="getMetadata: a device", steps=(_path("fs/getMetadata", "/dev/null"),)),
    Row(name="readFile: a device", steps=(_path("fs/readFile", "/dev/null"),)),
    Row(name="readFile: of the kernel", steps=(_path("fs/readFile", "/proc/sys/kernel/ostype"),)),
    Row(name="writeFile: of the kernel", steps=(_write("/proc/sys/kernel/ostype"),)),
    Row(name="writeFile: what can't be", steps=(_write("/proc/new"),)),
    Row(
        name="readDirectory: an empty one",
        files=_TREE,
        steps=(_path("fs/readDirectory", "{root}/hollow"),),
    ),
    Row(name="canonicalize: a file", files=_TREE, steps=(_path("fs/canonicalize", "{root}/f"),)),
)


def _http(method: JsonValue = "GET", path: str = "/echo", **params: JsonValue) -> Ask:
    return Ask(
        "http/request",
        {"method": method, "url": "{server}" + path, "headers": [], "requestId": "r", **params},
    )


def _header(name: str, value: str) -> JsonValue:
    return [{"name": name, "value": value}]


HTTP = (
    *(
        Row(name=f"http: {what}", steps=(ask,))
        for what, ask in {
            "GET": _http(),
            "HEAD": _http("HEAD"),
            "POST": _http("POST", bodyBase64="aGVsbG8="),
            "a method of its own": _http("BREW", bodyBase64="aGVsbG8="),
            "a status that is no success": _http(path="/missing"),
            "no content": _http(path="/none"),
            "chunks": _http(path="/chunks"),
            "headers that repeat": _http(path="/headers"),
            "a body that breaks off": _http(path="/cut"),
            "no answer at all": _http(path="/nothing"),
            "no HTTP": _http(path="/nonsense"),
            "a redirect": _http(path="/redirect/1"),
            "ten redirects": _http(path="/redirect/10"),
            "eleven redirects": _http(path="/redirect/11"),
            "a redirect to nowhere": _http(path="/away"),
            "a time that is too short": _http(path="/silence", timeoutMs=50),
            "no time at all": _http(path="/silence", timeoutMs=0),
            "a negative time": _http(timeoutMs=-1),
            "a method with a space": _http("G T"),
            "an empty method": _http(""),
            "a number for a method": _http(7),
            "no URL": _http(url="nonsense"),
            "an empty URL": _http(url=""),
            "a URL of a file": _http(url="file:///etc/hostname"),
            "a URL of FTP": _http(url="ftp://127.0.0.1/"),
            "a URL without a host": _http(url="http://"),
            "a port where nobody listens": _http(url="http://127.0.0.1:1/"),
            "a port that is none": _http(url="http://127.0.0.1:99999/"),
            "a fragment": _http(path="/echo?a=1#b"),
            "spaces in the path": _http(path="/a b"),
            "a bad header name": _http(headers=_header("a b", "1")),
            "an empty header name": _http(headers=_header("", "1")),
            "a header value of two lines": _http(headers=_header("a", "1\r\nb: 2")),
            "null for headers": _http(headers=None),
            "a map for headers": _http(headers={"a": "1"}),
            "a body that is no base64": _http("POST", bodyBase64="!!"),
            "a number for an id": _http(requestId=7),
            "null for an id": _http(requestId=None),
            "an empty id": _http(requestId=""),
            "text for streamResponse": _http(streamResponse="yes"),
            "no params": Ask("http/request", {}),
            "no id": Ask("http/request", {"method": "GET", "url": "{server}/", "headers": []}),
            "no headers": Ask(
                "http/request", {"method": "GET", "url": "{server}/echo", "requestId": "r"}
            ),
        }.items()
    ),
    Row(
        name="http: one id after the other",
        steps=(_http(), _http()),
    ),
    *(
        Row(name=f"http stream: {what}", steps=(ask, Body()))
        for what, ask in {
            "GET": _http(streamResponse=True),
            "chunks": _http(path="/chunks", streamResponse=True),
            "nothing": _http(path="/none", streamResponse=True),
            "a body that breaks off": _http(path="/cut", streamResponse=True),
        }.items()
    ),
    Row(
        name="http stream: no answer at all",
        steps=(_http(path="/nothing", streamResponse=True),),
    ),
)

ROWS = (*LOOKS, *WRITES, *CREATIONS, *REMOVALS, *COPIES, *OTHERS, *HTTP)
