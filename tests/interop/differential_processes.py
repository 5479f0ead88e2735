"""What is asked about starting processes: a part of the table."""

from interop.differential import Ask, Closed, Exited, Output, Row
from interop.differential_asks import SLOW_CAT, each, shell, start, start_params, terminate, write
from interop.differential_tree import File, Folder, Link
from sansrelay.jsonrpc import JsonValue


def _without(member: str) -> Ask:
    params = start_params("true")
    del params[member]
    return Ask("process/start", params)


STARTS = (
    *each(
        "run",
        {
            "nothing": start("true"),
            "a status": shell("exit 7"),
            "the largest status": shell("exit 255"),
            "output": shell("echo out"),
            "errors": shell("echo bad >&2"),
            "both": shell("echo out; echo bad >&2; exit 3"),
            "no newline": shell("printf x"),
            "output that is not UTF-8": shell(r"printf 'a\377\376b\300\n'"),
            "NUL and control bytes": shell(r"printf 'a\000b\033[1m\r\n\001'"),
            "every byte": start("python3", "-c", "import os; os.write(1, bytes(range(256)))"),
            "a cut character": shell(r"printf '\303'"),
            "a megabyte": shell("head -c 1000000 /dev/zero"),
            "many lines": start("seq", "1", "20000"),
            "its directory": start("pwd"),
            "its arguments": start("printf", "[%s]", "", "a b", "$HOME", "*", "\n", "é"),
            "its name": shell("echo $0", arg0="other"),
            "an empty name": shell("echo done", arg0=""),
            "an absolute program": start("/bin/echo", "x"),
            "its variables": start(
                "sh",
                "-c",
                "env | grep -vx PWD=.* | sort",
                env={"PATH": "/usr/bin:/bin", "A": "1", "B": "", "é": "ü"},
            ),
            "no PATH": start("/usr/bin/env", env={}),
            "a program without PATH": start("echo", "x", env={}),
            "input that is not piped": start("cat"),
            "its own end by a signal": shell("kill -9 $$"),
            "its own end by SIGTERM": shell("kill $$"),
            "a child of it by a signal": shell("sh -c 'kill -9 $$'; echo $?"),
            "a closed output": shell("exec >&- 2>&-; exit 4"),
            "a terminal": shell("test -t 0 && test -t 1 && test -t 2 && echo yes", tty=True),
            "the size of a terminal": shell("stty size", tty=True),
            "the end in a terminal": shell("echo x; exit 9", tty=True),
            "errors in a terminal": shell("echo bad >&2", tty=True),
            "a terminal's name of itself": shell("echo ${TERM-none}", tty=True),
            "the mask of its files": shell("umask"),
            "a limit on open files": shell("test $(ulimit -n) -ge 256 && echo enough"),
            "signals that are blocked": shell("grep -E 'SigBlk|SigIgn' /proc/self/status"),
            "open descriptors": start("ls", "/proc/self/fd"),
            "its session": shell("read a b c d e g f </proc/self/stat; test $e = $g && echo same"),
        },
        Closed(),
    ),
    *(
        Row(
            name=f"start: {what}",
            steps=(ask,),
            texts=True,
            files={b"file": File(b"text"), b"dir": Folder()},
        )
        for what, ask in {
            "a missing program": start("no-such-program"),
            "a missing absolute program": start("/no/such"),
            "a directory as program": start("/"),
            "a file that is no program": start("{root}/file"),
            "a program below a file": start("{root}/file/x"),
            "a missing directory": start("true", cwd="{root}/none"),
            "a file as directory": start("true", cwd="{root}/file"),
        }.items()
    ),
    *(
        Row(name=f"start: {what}", steps=(ask,))
        for what, ask in {
            "no argv": start(),
            "an empty program": start(""),
            "a program with NUL": start("a\0b"),
            "an argument with NUL": start("echo", "a\0b"),
            "a relative directory": start("true", cwd="x"),
            "an empty directory": start("true", cwd=""),
            "a dot as directory": start("true", cwd="."),
            "a directory with NUL": start("true", cwd="/\0"),
            "a URI as directory": start("true", cwd="file:///"),
            "a variable with NUL": start("true", env={"A": "a\0b"}),
            "a variable without a name": start("true", env={"": "x"}),
            "a variable with =": start("true", env={"A=B": "x"}),
            "a number in argv": start("true", argv=["echo", 7]),
            "text for argv": start("true", argv="true"),
            "null for argv": start("true", argv=None),
            "a list for env": start("true", env=[]),
            "null for env": start("true", env=None),
            "a number for a variable": start("true", env={"A": 1}),
            "a number for cwd": start("true", cwd=7),
            "text for tty": start("true", tty="yes"),
            "null for tty": start("true", tty=None),
            "one for pipeStdin": start("true", pipeStdin=1),
            "a number for arg0": start("true", arg0=7),
            "a number for an id": start("true", processId=7),
            "null for an id": start("true", processId=None),
            "an empty id": start("true", processId=""),
            "a long id": start("true", processId="p" * 300),
            "a foreign member": start("true", colour="red"),
            "a policy that is text": start("true", envPolicy="all"),
            "a policy without members": start("true", envPolicy={}),
            "a policy that inherits nonsense": start("true", envPolicy={"inherit": "some"}),
            "an empty sandbox": start("true", sandbox={}),
            "null for sandbox": start("true", sandbox=None),
        }.items()
    ),
    *(
        Row(name=f"start: without {member}", steps=(_without(member),))
        for member in ("processId", "argv", "cwd", "env", "tty", "pipeStdin", "arg0")
    ),
    Row(
        name="start: a script beside it",
        files={b"run": File(b"#!/bin/sh\necho ran\n", 0o755)},
        steps=(start("./run"), Closed()),
    ),
    Row(
        name="start: a script that may not be run",
        files={b"run": File(b"#!/bin/sh\necho ran\n", 0o644)},
        steps=(start("./run"),),
        texts=True,
    ),
    Row(
        name="start: a script whose interpreter is missing",
        files={b"run": File(b"#!/no/such\n", 0o755)},
        steps=(start("./run"),),
        texts=True,
    ),
    Row(
        name="start: a file without a first line",
        files={b"run": File(b"echo ran\n", 0o755)},
        steps=(start("./run"),),
    ),
    Row(
        name="start: an empty file",
        files={b"run": File(b"", 0o755)},
        steps=(start("./run"),),
    ),
    Row(
        name="start: a loop of links as directory",
        files={b"loop": Link("loop")},
        steps=(start("true", cwd="{root}/loop"),),
    ),
    Row(
        name="start: a link as directory",
        files={b"dir": Folder(), b"link": Link("dir")},
        steps=(start("sh", "-c", "pwd -P", cwd="{root}/link"), Closed()),
    ),
    Row(
        name="start: the same id twice",
        steps=(*SLOW_CAT, start("true"), terminate(), Closed()),
    ),
    Row(
        name="start: the id of a closed process",
        steps=(start("true"), Closed(), start("true")),
    ),
    Row(
        name="start: an id that failed before",
        steps=(start("no-such-program"), start("echo", "x"), Closed()),
    ),
    Row(
        name="start: what a background child says",
        steps=(
            shell("(read x; echo late) <&0 & echo early", pipeStdin=True),
            Output("early\n"),
            Exited(),
            write(b"go\n"),
            Closed(),
        ),
    ),
)

_ENV = "env | cut -d= -f1 | grep -vx -e _ -e PWD -e SHLVL -e OLDPWD | sort"


def _policy(script: str = _ENV, **policy: JsonValue) -> Ask:
    members: JsonValue = {
        "inherit": "none",
        "ignoreDefaultExcludes": False,
        "exclude": [],
        "set": {},
        "includeOnly": [],
        **policy,
    }
    return shell(script, envPolicy=members)


_SET: JsonValue = {"AKEY": "1", "TOKENS": "2", "plain": "3", "Other": "4", "A[B]": "5"}

ENVIRONMENTS = each(
    "environment",
    {
        "nothing inherited": _policy(),
        "core inherited": _policy(inherit="core"),
        "all inherited": _policy(inherit="all"),
        "all inherited, also secrets": _policy(inherit="all", ignoreDefaultExcludes=True),
        "some excluded": _policy(inherit="all", exclude=["DIFF_*"]),
        "some excluded in small letters": _policy(inherit="all", exclude=["diff_?"]),
        "some excluded by a range": _policy(inherit="all", exclude=["DIFF_[AB]"]),
        "set": _policy(set=_SET),
        "set and only some": _policy(set=_SET, includeOnly=["*KEY", "pl*"]),
        "set wins over what is inherited": _policy(
            "echo $HOME", inherit="core", set={"HOME": "/h"}
        ),
        "set does not win over env": _policy("echo $PATH", set={"PATH": "/nowhere"}),
        "excluded and set": _policy(set={"A": "1"}, exclude=["A"]),
    },
    Closed(),
)


ROWS = (*STARTS, *ENVIRONMENTS)
