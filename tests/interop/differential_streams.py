"""What is asked about input, output and the end of processes: a part of the table."""

from interop.differential import Ask, Closed, Collect, Output, Row
from interop.differential_asks import (
    ENDED,
    SLOW_CAT,
    each,
    post,
    read,
    shell,
    start,
    terminate,
    write,
)
from sansrelay.jsonrpc import JsonValue

_NUMBERS: tuple[JsonValue, ...] = (-1, 1.5, 2**63, 2**64, 10**30, "7", True, [])

READS = (
    Row(name="read: all of it", steps=(*ENDED, read())),
    Row(name="read: after all of it", steps=(*ENDED, read(afterSeq=3))),
    Row(name="read: after more than there is", steps=(*ENDED, read(afterSeq=1000))),
    Row(name="read: after the largest seq", steps=(*ENDED, read(afterSeq=2**64 - 1))),
    Row(name="read: no bytes", steps=(*ENDED, read(maxBytes=0))),
    Row(name="read: fewer bytes than a chunk has", steps=(*ENDED, read(maxBytes=1))),
    Row(name="read: bytes without end", steps=(*ENDED, read(maxBytes=2**64 - 1))),
    Row(name="read: twice", steps=(*ENDED, read(), read())),
    Row(name="read: a wait with nothing to wait for", steps=(*ENDED, read(waitMs=300_000))),
    Row(name="read: a wait behind the end", steps=(*ENDED, read(afterSeq=3, waitMs=300_000))),
    Row(name="read: an exit by a signal", steps=(shell("kill -9 $$"), Closed(), read())),
    Row(
        name="read: a chunk that needs two",
        steps=(
            shell("echo one; read x; echo two", pipeStdin=True),
            Output("one\n"),
            write(b"\n"),
            Closed(),
            read(maxBytes=4),
            read(maxBytes=5),
            read(maxBytes=8),
            read(afterSeq=1),
            read(afterSeq=1, maxBytes=1),
        ),
    ),
    Row(name="read: nothing yet", steps=(start("cat", pipeStdin=True), read(), terminate())),
    Row(
        name="read: a short wait for nothing",
        steps=(start("cat", pipeStdin=True), read(waitMs=20), terminate()),
    ),
    Row(
        name="read: a long wait, and other requests meanwhile",
        steps=(
            start("cat", pipeStdin=True),
            post(read(waitMs=4000)),
            post(write(b"x\n")),
            Collect(),
            Output("x\n"),
            terminate(),
            Closed(),
        ),
    ),
    Row(
        name="read: a wait that output ends",
        steps=(
            start("cat", pipeStdin=True),
            write(b"x\n"),
            read(waitMs=300_000),
            terminate(),
        ),
    ),
    Row(name="read: the next seq", next_seq=True, steps=(*SLOW_CAT, read(), terminate())),
    Row(
        name="read: the next seq after the end",
        next_seq=True,
        steps=(*SLOW_CAT, terminate(), Closed(), read(), read(afterSeq=1)),
    ),
    Row(name="read: an unknown process", steps=(read(processId="q"),)),
    Row(
        name="read: without optional members",
        steps=(*ENDED, Ask("process/read", {"processId": "p"})),
    ),
    Row(name="read: without an id", steps=(Ask("process/read", {}),)),
    *(
        Row(
            name=f"read: numbers for {member}",
            steps=(*ENDED, *(read(**{member: number}) for number in _NUMBERS)),
        )
        for member in ("afterSeq", "maxBytes", "waitMs")
    ),
)

_CHUNKS: dict[str, JsonValue] = {
    "not base64": "!!",
    "base64 without its end": "eA",
    "base64 with a newline": "eA==\n",
    "base64 for URLs": "_-8=",
    "base64 with bits to spare": "eB==",
    "null": None,
    "a number": 7,
    "a list of bytes": [120],
}

WRITES = (
    Row(
        name="write: to a process that reads",
        steps=(
            shell("read x; echo got $x", pipeStdin=True),
            write(b"this\n"),
            Closed(),
            write(b"more"),
        ),
    ),
    Row(
        name="write: bytes that are no text",
        steps=(
            shell("head -c 4 | od -An -tx1", pipeStdin=True),
            write(b"\x00\xff\n\x80"),
            Closed(),
        ),
    ),
    Row(name="write: nothing", steps=(*SLOW_CAT, write(b""), terminate())),
    Row(name="write: to an unknown process", steps=(write(b"x", processId="q"),)),
    Row(
        name="write: where no input is piped",
        steps=(
            shell("echo on; exec sleep 600"),
            Output("on\n"),
            write(b"x"),
            terminate(),
            Closed(),
        ),
    ),
    Row(name="write: to a closed process without input", steps=(*ENDED, write(b"x"))),
    Row(
        name="write: to a process that has closed its input",
        steps=(
            shell("exec <&-; echo on; exec sleep 600", pipeStdin=True),
            Output("on\n"),
            write(b"x"),
            terminate(),
            Closed(),
            write(b"x"),
        ),
    ),
    Row(
        name="write: in a terminal",
        steps=(
            shell("stty -echo; echo on; read x; echo got $x", tty=True),
            Output("on\r\n"),
            write(b"this\n"),
            Closed(),
        ),
    ),
    Row(
        name="write: a terminal's interrupt",
        steps=(
            shell("stty -echo; echo on; exec cat", tty=True),
            Output("on\r\n"),
            write(b"\x03"),
            Closed(),
        ),
    ),
    Row(
        name="write: a terminal's end of file",
        steps=(
            shell("stty -echo; echo on; exec cat", tty=True),
            Output("on\r\n"),
            write(b"\x04"),
            Closed(),
        ),
    ),
    Row(
        name="write: two with one id of their own",
        steps=(
            shell("read x; echo on; read y; echo $x$y", pipeStdin=True),
            write(b"a\n", writeId="1"),
            Output("on\n"),
            write(b"a\n", writeId="1"),
            write(b"b\n", writeId="2"),
            Closed(),
        ),
    ),
    Row(
        name="write: much, to a process that counts",
        steps=(
            shell("head -c 300000 | wc -c", pipeStdin=True),
            *(write(bytes(100_000)) for _ in range(3)),
            Closed(),
        ),
    ),
    *(
        Row(
            name=f"write: a chunk that is {what}",
            steps=(
                *SLOW_CAT,
                Ask("process/write", {"processId": "p", "chunk": chunk}),
                terminate(),
            ),
        )
        for what, chunk in _CHUNKS.items()
    ),
    Row(
        name="write: without a chunk",
        steps=(*SLOW_CAT, Ask("process/write", {"processId": "p"}), terminate()),
    ),
    Row(name="write: without a process", steps=(Ask("process/write", {"chunk": "eA=="}),)),
    Row(
        name="write: null for an id of its own",
        steps=(*SLOW_CAT, write(b"x", writeId=None), terminate()),
    ),
)

ENDS = (
    Row(name="terminate: one that runs", steps=(*SLOW_CAT, terminate(), Closed(), read())),
    Row(name="terminate: one that is closed", steps=(*ENDED, terminate())),
    Row(name="terminate: twice", steps=(*SLOW_CAT, terminate(), Closed(), terminate())),
    Row(name="terminate: an unknown process", steps=(terminate("q"),)),
    Row(name="terminate: without an id", steps=(Ask("process/terminate", {}),)),
    Row(name="terminate: a number for an id", steps=(Ask("process/terminate", {"processId": 7}),)),
    Row(
        name="terminate: one that does not listen to SIGTERM",
        steps=(
            shell("trap 'echo no' TERM; echo on; while read x; do :; done", pipeStdin=True),
            Output("on\n"),
            terminate(),
            Closed(),
        ),
    ),
    Row(
        name="terminate: with its children",
        steps=(
            shell("sleep 600 & echo on; wait", pipeStdin=True),
            Output("on\n"),
            terminate(),
            Closed(),
        ),
    ),
    Row(
        name="terminate: one on a terminal",
        steps=(
            shell("stty -echo; echo on; exec cat", tty=True),
            Output("on\r\n"),
            terminate(),
            Closed(),
        ),
    ),
    *each(
        "later and of ours",
        {
            "process/signal": Ask("process/signal", {"processId": "q", "signal": "interrupt"}),
            "process/resize": Ask("process/resize", {"processId": "q", "terminalSize": {}}),
            "process/closeStdin": Ask("process/closeStdin", {"processId": "q"}),
        },
    ),
)


ROWS = (*READS, *WRITES, *ENDS)
