"""Real Codex ends at a rendezvous of ours that speaks TLS."""

import subprocess
from pathlib import Path

import pytest
import trustme

import trio
from apps_kit import Place, environment, first_line, run, started
from interop.codex import EXEC, TURN_PATIENCE, binary, codex_home, executor_command, needs
from interop.fake_model import message, shell

pytestmark = [pytest.mark.trio, pytest.mark.interop]


@needs("0.133.0")
async def test_both_ends_trust_a_ca_of_our_own(tmp_path: Path) -> None:
    ca, ca_file = trustme.CA(), tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(ca_file)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued = ca.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(key)
    certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    trust = {"SSL_CERT_FILE": str(ca_file)}
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    async with (
        started("rendezvous", "--dev", "--listen", "127.0.0.1:0", *options) as server,
        codex_home() as home,
    ):
        place = Place((await first_line(server)).removeprefix("ready "), server)
        assert place.url.startswith("https://")
        home.log_in()
        executor = await trio.lowlevel.open_process(
            executor_command("0.133.0", place.url, place.executor_id),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=home.environment(**trust),
        )
        try:
            # This waits for the executor.
            wait = ("exec", *place.options, "--wait", "30s", "--", "true")
            assert (await run(*wait, env=environment(**trust))).status == 0
            printed = await run("url", *place.options, env=environment(**trust))
            url = printed.out.decode().strip()
            assert url.startswith("wss://")
            home.model.will_say(shell("echo hello", call_id="1"), message("done"))
            with trio.fail_after(TURN_PATIENCE):
                await trio.run_process(
                    [str(binary("0.133.0").resolve()), *EXEC, "-C", str(tmp_path), "go on"],
                    stdin=b"",
                    capture_stdout=True,
                    env=home.environment(CODEX_EXEC_SERVER_URL=url, **trust),
                )
            assert home.model.outputs()[-1].endswith("\nhello\n")
        finally:
            executor.kill()
            with trio.CancelScope(shield=True):
                await executor.wait()
