"""Where our executor differs from Codex's, and why: data, which the differential test checks.

A row of the test that differs in any other way fails, and so does one of these that does not differ
any more. `docs/codex-differences.md` is made from it: see `differential_page`.
"""

from collections.abc import Mapping

from interop.differential_compare import Apart, Difference

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "initialize": ("serverInfo",),
    "fs/getMetadata": ("size",),
    "process/read": ("signal",),
    "process/exited": ("signal",),
}
"""Members that only our answers have. A harness of Codex passes over them."""

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        title="A message that can't be read is answered",
        reason=(
            "Codex drops it on the relay, without a word, and a client that waits for its "
            "answer waits for ever. Here it is an error, with id -1 where there is no usable "
            "one."
        ),
        rows={
            (
                "message: not JSON",
                "message: cut off",
                "message: not UTF-8",
                "message: blank",
                "message: a number",
                "message: null",
                "message: an empty list",
                "message: a batch",
                "message: NaN",
                "message: half a surrogate pair",
                "message: a byte order mark",
                "message: something after it",
                "before initialize: not JSON",
            ): {0: ({"answers": []}, {"answers": [[-1, {"error": -32600}]]})},
            ("method: a number", "method: null"): {
                0: ({"answers": []}, {"answers": [[9, {"error": -32600}]]})
            },
        },
    ),
    Difference(
        title="Numbers and depths that only Codex's parser gives up on",
        reason=("They are JSON, and harmless."),
        rows={
            ("message: a number beyond a double", "message: nested deeply"): {
                0: ({"answers": []}, {"answers": [[9, {"error": -32601}]]})
            },
        },
    ),
    Difference(
        title="A message that is no request leaves the session alone",
        reason=(
            "In Codex it ends the session on that stream, and what was sent right behind it "
            "gets no answer. The client is not told. Nobody gains from that."
        ),
        rows={
            ("message: a member twice",): {
                0: (
                    {"answers": [], "session": "is over"},
                    {"answers": [[10, {"error": -32601}]], "session": "goes on"},
                )
            },
            (
                "id: larger than 64 bits",
                "id: huge",
                "id: a fraction",
                "id: a whole fraction",
                "id: true",
                "id: null",
                "id: a list",
                "no request: a notification that is unknown",
                "no request: a method without an id",
            ): {
                0: (
                    {"answers": [], "session": "is over"},
                    {"answers": [[-1, {"error": -32600}]], "session": "goes on"},
                )
            },
            (
                "no request: an answer to nothing",
                "no request: an error to nothing",
                "no request: an answer and an error",
            ): {0: ({"session": "is over"}, {"session": "goes on"})},
        },
    ),
    Difference(
        title="Limits on ids",
        reason=(
            "An id comes back in every answer, so it has at most 256 characters. That of a "
            "process has at least one."
        ),
        rows={
            ("id: long",): {
                0: (
                    {
                        "answers": [
                            ["xxxxxxxxxx… (300 characters, CRC 1b432d13)", {"error": -32601}]
                        ]
                    },
                    {"answers": [[-1, {"error": -32600}]]},
                )
            },
            ("start: an empty id",): {0: ({"processId": ""}, {"error": -32602})},
            ("start: a long id",): {
                0: ({"processId": "pppppppppp… (300 characters, CRC fa7664b9)"}, {"error": -32602})
            },
        },
    ),
    Difference(
        title="Params as a list",
        reason=(
            "Codex takes the members in the order in which its sources happen to have them. "
            "Nobody can rely on that."
        ),
        rows={
            ("params: a list",): {
                0: ({"answers": [[9, {"running": False}]]}, {"answers": [[9, {"error": -32602}]]})
            },
        },
    ),
    Difference(
        title="Before `initialize` a request is not looked at",
        reason=(
            "Codex looks whether method and params are good first, and says so. Who has no "
            "session yet need not know."
        ),
        rows={
            (
                "before initialize: a bad request",
                "before initialize: a relative file",
                "before initialize: HTTP",
            ): {0: ({"answers": [[9, {"error": -32602}]]}, {"answers": [[9, {"error": -32600}]]})},
            ("before initialize: an unknown method",): {
                0: ({"answers": [[9, {"error": -32601}]]}, {"answers": [[9, {"error": -32600}]]})
            },
        },
    ),
    Difference(
        title="`initialized` is not waited for",
        reason=("It says nothing that the answer to `initialize` has not settled."),
        rows={
            ("initialized: left out",): {1: ({"error": -32600}, {"running": False})},
        },
    ),
    Difference(
        title="A session that another stream has gets a code of its own",
        reason=(
            "Later versions have it, too: a client can tell a session that it may try again "
            "from one that is lost."
        ),
        rows={
            ("session: resumed while another stream has it",): {
                1: ({"error": -32600}, {"error": -32010})
            },
        },
    ),
    Difference(
        title="What no process can be given is refused as bad params",
        reason=(
            "Codex tries, and reports the failure of the start, or passes a broken variable "
            "on. The member is at fault, whatever the system says."
        ),
        rows={
            (
                "start: an empty program",
                "start: a program with NUL",
                "start: an argument with NUL",
                "start: a directory with NUL",
                "start: a variable with NUL",
            ): {0: ({"error": -32603}, {"error": -32602})},
            ("start: a variable without a name", "start: a variable with ="): {
                0: ({"processId": "p"}, {"error": -32602})
            },
        },
    ),
    Difference(
        title="The directory of a process is absolute",
        reason=(
            "Codex takes a relative one from wherever the executor was started, which a "
            "client can't know."
        ),
        rows={
            ("start: a relative directory", "start: an empty directory"): {
                0: ({"error": -32603}, {"error": -32602})
            },
            ("start: a dot as directory",): {0: ({"processId": "p"}, {"error": -32602})},
        },
    ),
    Difference(
        title="`file://` URIs are taken",
        reason=("Later versions take nothing else. Both are understood here."),
        rows={
            ("start: a URI as directory",): {0: ({"error": -32603}, {"processId": "p"})},
            ("look at a URI",): {
                0: (
                    {"error": -32602},
                    {
                        "isDirectory": False,
                        "isFile": True,
                        "isSymlink": False,
                        "createdAtMs": 0,
                        "modifiedAtMs": 1500000000000,
                    },
                ),
                1: ({"error": -32602}, {"dataBase64": "aGVsbG8="}),
                2: ({"error": -32602}, {"error": -32603}),
            },
        },
    ),
    Difference(
        title="Members with a default",
        reason=(
            "Left out, they mean false. Codex insists on them, and its harness always sends them."
        ),
        rows={
            ("start: without tty",): {0: ({"error": -32602}, {"processId": "p"})},
            ("copy: without recursive",): {
                0: ({"error": -32602}, {}),
                1: ({}, {"new": "file 640 hello"}),
            },
        },
    ),
    Difference(
        title="Death by a signal",
        reason=(
            "Codex tells -1, or 1 on a terminal, whatever the signal. As in a shell it is 128"
            " and the signal's number here, which is also told by itself, as `signal`. For "
            "`process/terminate` that is SIGTERM, where Codex kills."
        ),
        rows={
            ("session: resumed after its stream was lost",): {
                7: ({"exitCode": -1}, {"exitCode": 143})
            },
            ("run: its own end by a signal",): {1: ({"exitCode": -1}, {"exitCode": 137})},
            ("run: its own end by SIGTERM",): {1: ({"exitCode": -1}, {"exitCode": 143})},
            (
                "start: the same id twice",
                "write: where no input is piped",
                "write: to a process that has closed its input",
            ): {4: ({"exitCode": -1}, {"exitCode": 143})},
            ("read: an exit by a signal",): {
                1: ({"exitCode": -1}, {"exitCode": 137}),
                2: ({"exitCode": -1}, {"exitCode": 137}),
            },
            ("read: a long wait, and other requests meanwhile",): {
                6: ({"exitCode": -1}, {"exitCode": 143})
            },
            ("read: the next seq after the end",): {
                3: ({"exitCode": -1}, {"exitCode": 143}),
                5: ({"exitCode": -1}, {"exitCode": 143}),
            },
            ("write: a terminal's interrupt",): {3: ({"exitCode": 1}, {"exitCode": 130})},
            ("terminate: one that runs",): {
                3: ({"exitCode": -1}, {"exitCode": 143}),
                4: ({"exitCode": -1}, {"exitCode": 143}),
            },
            ("terminate: twice", "terminate: with its children"): {
                3: ({"exitCode": -1}, {"exitCode": 143})
            },
            ("terminate: one on a terminal",): {3: ({"exitCode": 1}, {"exitCode": 143})},
        },
    ),
    Difference(
        title="`process/terminate` asks before it kills",
        reason=(
            "A program may clean up. What is left after `kill_grace` is killed, as by Codex "
            "at once."
        ),
        rows={
            ("terminate: one that does not listen to SIGTERM",): {
                3: (
                    {"output": {"stdout": "on\n"}, "exitCode": -1},
                    {"output": {"stdout": "on\nno\n"}, "exitCode": 0},
                )
            },
        },
    ),
    Difference(
        title="`nextSeq` once a process has ended",
        reason=(
            "Codex counts what it has given, and leaves the exit out. Here `nextSeq - 1` is "
            "always the next cursor. Either can be used so."
        ),
        rows={
            ("read: the next seq after the end",): {
                4: ({"nextSeq": 2, "exitCode": -1}, {"nextSeq": 4, "exitCode": 143})
            },
        },
    ),
    Difference(
        title="`closed` comes with the last of the output",
        reason=(
            "Codex says `closed` when there is more to read than `maxBytes` let through, so "
            "that a client who stops there misses it."
        ),
        rows={
            ("read: a chunk that needs two",): {
                4: ({"closed": True}, {"closed": False}),
                5: ({"closed": True}, {"closed": False}),
            },
        },
    ),
    Difference(
        title="A read that waits holds up nothing",
        reason=(
            "Codex handles the requests of a stream one after the other, and here the read "
            "waits for what the write behind it would bring. Here both go on."
        ),
        rows={
            ("read: a long wait, and other requests meanwhile",): {
                3: (
                    [
                        {
                            "chunks": {},
                            "exited": False,
                            "exitCode": None,
                            "closed": False,
                            "failure": None,
                        },
                        {"status": "accepted"},
                    ],
                    [
                        {
                            "chunks": {"stdout": "x\n"},
                            "exited": False,
                            "exitCode": None,
                            "closed": False,
                            "failure": None,
                        },
                        {"status": "accepted"},
                    ],
                )
            },
        },
    ),
    Difference(
        title="Numbers beyond 64 bits",
        reason=("They are as good as the largest that Codex takes."),
        rows={
            ("read: numbers for afterSeq",): {
                5: (
                    {"error": -32602},
                    {"chunks": {}, "exited": True, "exitCode": 0, "closed": True, "failure": None},
                ),
                6: (
                    {"error": -32602},
                    {"chunks": {}, "exited": True, "exitCode": 0, "closed": True, "failure": None},
                ),
            },
            ("read: numbers for maxBytes", "read: numbers for waitMs"): {
                5: (
                    {"error": -32602},
                    {
                        "chunks": {"stdout": "out\n"},
                        "exited": True,
                        "exitCode": 0,
                        "closed": True,
                        "failure": None,
                    },
                ),
                6: (
                    {"error": -32602},
                    {
                        "chunks": {"stdout": "out\n"},
                        "exited": True,
                        "exitCode": 0,
                        "closed": True,
                        "failure": None,
                    },
                ),
            },
        },
    ),
    Difference(
        title="The input ends with the process",
        reason=(
            "Codex accepts input for a process that has exited, and either nobody reads it, "
            "or it goes to whatever the process has left behind. A second write fails there. "
            "Here the status says what is the matter."
        ),
        rows={
            ("start: what a background child says",): {
                3: ({"status": "accepted"}, {"status": "stdinClosed"})
            },
            ("write: to a process that reads",): {
                3: ({"status": "accepted"}, {"status": "stdinClosed"})
            },
            ("write: to a process that has closed its input",): {
                5: ({"error": -32603}, {"status": "stdinClosed"})
            },
        },
    ),
    Difference(
        title="`writeId`",
        reason=(
            "A write with an id that is known is not done again. Codex 0.133.0 ignores the "
            "id, later versions know it."
        ),
        rows={
            ("write: two with one id of their own",): {
                5: ({"output": {"stdout": "on\naa\n"}}, {"output": {"stdout": "on\nab\n"}})
            },
        },
    ),
    Difference(
        title="Base64 whose unused bits are not zero",
        reason=("RFC 4648, section 3.5, leaves it to the decoder. What is meant is plain."),
        rows={
            ("write: a chunk that is base64 with bits to spare",): {
                2: ({"error": -32602}, {"status": "accepted"})
            },
            ("writeFile: data that is base64 with bits to spare",): {
                0: ({"error": -32600}, {}),
                1: ({}, {"f": "file 640 x"}),
            },
        },
    ),
    Difference(
        title="Methods that Codex 0.133.0 does not have",
        reason=(
            "`process/signal` and `fs/canonicalize` come in later versions; `process/resize` "
            "and `process/closeStdin` are ours."
        ),
        rows={
            ("later and of ours: process/signal", "later and of ours: process/resize"): {
                0: ({"error": -32601}, {"error": -32600})
            },
            ("later and of ours: process/closeStdin",): {0: ({"error": -32601}, {"error": -32602})},
            ("canonicalize: a file",): {0: ({"error": -32601}, {"path": "{root}/f"})},
        },
    ),
    Difference(
        title="A path with NUL is refused as bad params",
        reason=("Codex lets the system refuse it, as it would one that may not be used."),
        rows={
            ("look at a path with NUL",): {
                0: ({"error": -32600}, {"error": -32602}),
                1: ({"error": -32600}, {"error": -32602}),
                2: ({"error": -32600}, {"error": -32602}),
            },
            ("writeFile: a path with NUL",): {0: ({"error": -32600}, {"error": -32602})},
        },
    ),
    Difference(
        title="A sandbox is ignored, whatever it holds",
        reason=(
            "Processes and files are reached with the rights of the executor, so its form "
            "does not matter. Codex checks it."
        ),
        rows={
            ("look at nothing, with an empty sandbox",): {
                0: ({"error": -32602}, {"error": -32004}),
                1: ({"error": -32602}, {"error": -32004}),
                2: ({"error": -32602}, {"error": -32004}),
            },
        },
    ),
    Difference(
        title="A file copied onto itself stays",
        reason=("Codex reports success, and the file is empty."),
        rows={
            ("copy: to itself", "copy: to itself through a link"): {
                0: ({}, {"error": -32600}),
                1: ({"f": "file 640 "}, {}),
            },
        },
    ),
    Difference(
        title="Devices are not read",
        reason=(
            "One may never end, or do something by being opened. Pipes aren't either: a Codex"
            " that reads one hangs, and its stream with it, which is why that is not tried "
            "here."
        ),
        rows={
            ("readFile: a device",): {0: ({"dataBase64": ""}, {"error": -32600})},
        },
    ),
)


def listed(name: str) -> Apart:
    """Where a row has to differ."""
    return {
        number: answers
        for each in DIFFERENCES
        for names, apart in each.rows.items()
        if name in names
        for number, answers in apart.items()
    }
