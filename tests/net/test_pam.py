# SPDX-License-Identifier: MIT
"""auth pam: real PAM with real service files, in a /etc/pam.d of the test's own."""

import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

from harness import netns, socks, targets
from harness.config import PROXY, local
from harness.tabi import SANITIZED, run, wait_until

from test_auth import OTHERS, SOME, ask, first_file, from_address

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

# What pam_exec runs. It knows the users of "known", tells in "asked" what it was asked with, and for
# the user "slow" it waits until the file "go" is there, or for ever.
SCRIPT = """#!/bin/sh
cd {here} || exit 1
echo "$PAM_TYPE $PAM_SERVICE $PAM_USER $PAM_RHOST $PAM_TTY" >>asked
if [ "$PAM_TYPE" = account ]; then
    ! grep -qx "$PAM_USER" expired
    exit
fi
password=$(tr -d '\\0')
if [ "$PAM_USER" = slow ]; then
    echo $$ >>slow-ones
    until [ -e go ]; do sleep 0.1; done
fi
grep -qxF "$PAM_USER:$password" known
"""

SERVICE = """\
auth    required  pam_exec.so quiet expose_authtok {here}/script
account required  pam_exec.so quiet {here}/script
"""

# The same, and modules that want failures to be told two seconds later.
LATE = "auth optional pam_faildelay.so delay=2000000\n" + SERVICE


class Pam:
    """The service files of a test, and what its script was asked."""

    def __init__(self, here):
        self.here = here
        self.services = here / "pam.d"
        self.services.mkdir()
        script = here / "script"
        script.write_text(SCRIPT.format(here=here))
        script.chmod(0o755)
        self.known("alice:secret", "bob:s3cr:t", "slow:slow", "old:old")
        (here / "expired").write_text("old\n")
        for name in ("asked", "slow-ones"):
            (here / name).touch()
            (here / name).chmod(0o666)
        self.service("tabi", SERVICE)
        self.service("other", "auth required pam_permit.so\naccount required pam_permit.so\n")

    def known(self, *users):
        (self.here / "known").write_text("".join(u + "\n" for u in users))

    def service(self, name, text):
        (self.services / name).write_text(text.format(here=self.here))

    def mount(self):
        netns.mount_over(str(self.services), "/etc/pam.d")

    def asked(self, kind="auth"):
        lines = (self.here / "asked").read_text().splitlines()
        return [line for line in lines if line.startswith(kind + " ")]

    def slow_ones(self):
        return [int(pid) for pid in (self.here / "slow-ones").read_text().split()]


    def end_slow_ones(self):
        """Those of a helper that was killed have nobody else to do it."""
        for pid in self.slow_ones():
            try:
                ours = os.fsencode(self.here) in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            except FileNotFoundError:
                continue
            if ours:
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def pam(tmp_path):
    one = Pam(tmp_path)
    yield one
    one.end_slow_ones()


def serve(tabi, pam, *lines, auth="auth pam tabi"):
    return tabi(local(auth, "log level debug", *lines), preexec=pam.mount)


def helper_of(program):
    """The process id of the auth helper, or None."""
    for pid in program.workers():
        try:
            with open(f"/proc/{pid}/comm") as f:
                if f.read() == "tabi-auth\n":
                    return pid
        except OSError:
            pass
    return None


def wait_helper(program, other_than=None):
    wait_until(lambda: helper_of(program) not in (None, other_than), 10, "a helper")
    return helper_of(program)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def begin(address, user, password):
    """A connection whose password is being checked."""
    sock = from_address(address)
    sock.sendall(socks.greeting(2) + socks.userpass(user, password))
    assert socks.recv_exact(sock, 2) == b"\x05\x02"
    return sock


def http_status(address, user, password):
    with from_address(address) as sock:
        sock.sendall(socks.request_http("127.0.0.1:7000", socks.basic(user, password)))
        return socks.recv_head(sock)[0]


def test_right_and_wrong(tabi, target, pam):
    target(targets.echo)
    program = serve(tabi, pam)
    assert ask(SOME, "alice", "secret") == 0
    assert ask(SOME, "bob", "s3cr:t") == 0
    assert http_status(OTHERS, "alice", "secret") == 200
    for user, password in (
        ("alice", "wrong"),
        ("alice", "secret2"),
        ("nobody-known", "secret"),
        ("Alice", "secret"),
    ):
        assert ask(SOME, user, password) != 0, user
        assert http_status(OTHERS, user, password) == 407
    with socks.dial(PROXY) as sock:
        socks.hello5(sock, "alice", "secret")
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)
    line = program.wait_session(user="alice", reason="done", protocol="socks5", up=len(b"is anybody there?"))
    assert line["method"] == "password"
    assert "secret" not in program.log().replace("wrong-secret", "")


def test_what_pam_is_told(tabi, pam):
    serve(tabi, pam)
    assert ask(SOME, "alice", "secret") == 0
    assert pam.asked() == [f"auth tabi alice {SOME} tabi"]
    assert pam.asked("account") == [f"account tabi alice {SOME} tabi"]


@pytest.mark.case("N9", "N13")
@pytest.mark.parametrize(
    "user, password",
    (("alice", b"secret\0"), (b"alice\0", "secret"), ("", "secret"), ("alice", ""), ("", "")),
    ids=repr,
)
def test_what_pam_is_not_asked(tabi, pam, user, password):
    """A NUL would end what PAM hears, so another user or password would be judged."""
    pam.service("tabi", "auth required pam_permit.so\naccount required pam_permit.so\n")
    program = serve(tabi, pam)
    assert ask(SOME, user, password) != 0
    program.wait_session(reason="bad-credentials")
    assert ask(SOME, "anybody", "anything") == 0


def test_account_that_may_not_be_used(tabi, pam):
    """The right password of an expired account; and nothing is said of which of both it was."""
    program = serve(tabi, pam)
    assert ask(SOME, "old", "old") != 0
    assert len(pam.asked("account")) == 1
    assert http_status(SOME, "old", "old") == 407
    program.wait_session(reason="bad-credentials")
    program.wait_text("stage=account")


def test_a_prompt_that_is_no_password(tabi, pam):
    """Only what is asked for without echo is answered: pam_ftp's user prompt and the like are not."""
    pam.service(
        "tabi", "auth required pam_ftp.so users=nobody-is-called-so\naccount required pam_permit.so\n"
    )
    serve(tabi, pam)
    assert ask(SOME, "alice", "secret") != 0


def test_misspelt_service(tabi, pam):
    """It is not PAM's `other`, which here would let anybody in."""
    program = tabi(local("auth pam tabby"), wait=False, preexec=pam.mount)
    assert program.wait_exit() == 1
    assert "no file /etc/pam.d/tabby" in program.log()
    program.stopped = True


def test_files_and_pam(tabi, pam, tmp_path):
    """Either may say yes, in both orders; PAM is not asked after a file has said so."""
    users = first_file(tmp_path, "users", "alice", "from-file")
    program = serve(tabi, pam, f"auth pam tabi from {SOME}", auth=f"auth password {users}")
    assert ask(SOME, "alice", "from-file") == 0
    assert pam.asked() == []
    assert ask(SOME, "alice", "secret") == 0
    assert len(pam.asked()) == 1
    assert ask(SOME, "alice", "wrong") != 0
    assert len(pam.asked()) == 2
    assert program.log().count(" password-hash ") == 3
    # Known from the cache, but not where PAM has no say.
    assert ask(OTHERS, "alice", "secret") != 0
    assert len(pam.asked()) == 2


def test_a_source_for_some_users(tabi, pam):
    """Whom a statement is not about cannot be let in by it, even where PAM would let anybody in, and
    the refusal comes as late as any other."""
    pam.service(
        "any",
        "auth optional pam_faildelay.so delay=2000000\nauth required pam_permit.so\n"
        "account required pam_permit.so\n",
    )
    serve(tabi, pam, auth="auth pam any user alice")
    assert ask(SOME, "alice", "anything") == 0
    assert ask(SOME, "mallory", "anything") != 0


def test_right_password_of_another_user_takes_as_long(tabi, pam):
    """It is asked like any wrong one, and waits for as long as modules want failures to wait."""
    pam.service("tabi", LATE)
    serve(tabi, pam, auth="auth pam tabi user alice")
    seconds = {}
    for user, password in (("bob", "s3cr:t"), ("alice", "wrong")):
        began = time.monotonic()
        assert ask(SOME, user, password) != 0
        seconds[user] = time.monotonic() - began
    assert len(pam.asked()) == 2
    # pam_fail_delay(3): within a half around what was asked for.
    assert all(0.9 < s < 4 for s in seconds.values()), seconds


def test_cache(tabi, pam):
    program = serve(tabi, pam)
    for _ in range(5):
        assert ask(SOME, "alice", "secret") == 0
    assert len(pam.asked()) == 1
    # The cache is of the configuration: after a reload PAM has its say again.
    pam.known("alice:changed")
    program.expect_lost_workers = True
    program.signal(signal.SIGHUP)
    program.wait_text("the configuration was reloaded")
    assert ask(SOME, "alice", "secret") != 0
    assert ask(SOME, "alice", "changed") == 0


def test_module_that_hangs(tabi, pam):
    """It holds up nobody else, and ends with all that it started when its asker goes."""
    program = serve(tabi, pam, "timeout handshake 5s")
    with begin(SOME, "slow", "slow"):
        wait_until(pam.slow_ones, 10, "the slow script")
        began = time.monotonic()
        assert ask(OTHERS, "alice", "secret") == 0
        assert time.monotonic() - began < 2
    wait_until(lambda: not is_alive(pam.slow_ones()[0]), 10, "the script to be killed")
    with begin(SOME, "slow", "slow") as sock:
        assert socks.recv_end(sock)[0] == b"\x01\x01"
    program.wait_session(reason="handshake-timeout")
    wait_until(lambda: not is_alive(pam.slow_ones()[1]), 10, "the second one to be killed")


@pytest.mark.slow
def test_module_that_hangs_for_too_long(tabi, pam):
    program = serve(tabi, pam, "timeout handshake 60s")
    with begin(SOME, "slow", "slow") as sock:
        sock.settimeout(40)
        assert socks.recv_end(sock)[0] == b"\x01\x01"
    # Of that the client is not to blame: no line that would have it banned.
    program.wait_session(reason="unavailable")
    program.wait_text("no answer in 20 s")
    assert " auth-failed " not in program.log()
    wait_until(lambda: not is_alive(pam.slow_ones()[0]), 10, "the script to be killed")


def test_module_that_crashes(tabi, pam):
    pam.service("tabi", "auth required pam_exec.so quiet {here}/crash\n" + SERVICE)
    crash = pam.here / "crash"
    crash.write_text("#!/bin/sh\nkill -ABRT $PPID\nsleep 5\n")
    crash.chmod(0o755)
    program = serve(tabi, pam)
    assert ask(SOME, "alice", "secret") != 0
    program.wait_text("a module ended its process")
    program.wait_session(reason="unavailable")
    assert " auth-failed " not in program.log()
    assert helper_of(program) in program.first_workers


def test_helper_that_dies(tabi, pam):
    """The check under way fails for no fault of the client's; the next one finds a new helper."""
    program = serve(tabi, pam)
    program.expect_lost_workers = True
    first = wait_helper(program)
    with begin(SOME, "slow", "slow") as sock:
        wait_until(pam.slow_ones, 10, "the slow script")
        os.kill(first, signal.SIGKILL)
        assert socks.recv_end(sock)[0] == b"\x01\x01"
    program.wait_session(reason="unavailable")
    program.wait_text("the auth helper")
    assert ask(OTHERS, "alice", "secret") == 0
    assert wait_helper(program) != first
    assert " auth-failed " not in program.log()


def test_questions_outlive_the_helper(tabi, pam):
    """What it had not read when it died is read by the next one."""
    program = serve(tabi, pam)
    program.expect_lost_workers = True
    first = wait_helper(program)
    os.kill(first, signal.SIGSTOP)
    with begin(SOME, "alice", "secret") as sock:
        time.sleep(0.3)  # the question is on its way
        os.kill(first, signal.SIGKILL)
        assert socks.recv_exact(sock, 2) == b"\x01\x00"


@pytest.mark.slow
def test_helper_that_hangs(tabi, pam):
    """It is seen from questions that nobody takes, and killed."""
    program = serve(tabi, pam, "timeout handshake 90s")
    program.expect_lost_workers = True
    first = wait_helper(program)
    os.kill(first, signal.SIGSTOP)
    with begin(SOME, "alice", "secret") as sock:
        sock.settimeout(60)
        assert socks.recv_exact(sock, 2) == b"\x01\x00"
    program.wait_text("does nothing; killing it")


def test_reload(tabi, pam):
    """A check under way is not disturbed, and what the new configuration says holds at once."""
    pam.service("second", SERVICE.replace("expose_authtok {here}/script", "/bin/false"))
    program = serve(tabi, pam)
    program.expect_lost_workers = True
    first = wait_helper(program)
    with begin(SOME, "slow", "slow") as sock:
        wait_until(pam.slow_ones, 10, "the slow script")
        program.write_config(local("auth pam second"))
        program.signal(signal.SIGHUP)
        program.wait_text("the configuration was reloaded")
        wait_helper(program)
        assert ask(OTHERS, "alice", "secret") != 0
        (pam.here / "go").touch()
        assert socks.recv_exact(sock, 2) == b"\x01\x00"
    wait_until(lambda: not is_alive(first), 10, "the first helper to end")
    # Without PAM there is no helper, and with it again there is one.
    program.write_config(local())
    program.signal(signal.SIGHUP)
    program.wait_text("the configuration was reloaded", n=2)
    wait_until(lambda: helper_of(program) is None, 10, "no helper")
    program.write_config(local("auth pam tabi"))
    program.signal(signal.SIGHUP)
    program.wait_text("the configuration was reloaded", n=3)
    assert ask(OTHERS, "alice", "secret") == 0


def test_worker_that_dies(tabi, pam):
    program = serve(tabi, pam)
    program.expect_lost_workers = True
    helper = wait_helper(program)
    with begin(SOME, "slow", "slow"):
        wait_until(pam.slow_ones, 10, "the slow script")
        worker = next(pid for pid in program.workers() if pid != helper)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not is_alive(pam.slow_ones()[0]), 10, "the script to be killed")
    wait_until(lambda: len(program.workers()) == 2, 10, "a new worker")
    assert ask(SOME, "alice", "secret") == 0
    assert helper_of(program) == helper


def test_nothing_stays_behind(tabi, pam):
    """The helper ends with the server, and so does a module that hangs."""
    program = serve(tabi, pam, "timeout drain 1s")
    helper = wait_helper(program)
    with begin(SOME, "slow", "slow"):
        wait_until(pam.slow_ones, 10, "the slow script")
        program.stop()
    assert not is_alive(helper)
    wait_until(lambda: not is_alive(pam.slow_ones()[0]), 10, "the script to be killed")


def test_what_the_helper_holds(tabi, pam, tmp_path):
    """No listening socket, no file, and none of the hashes that the supervisor has read."""
    users = first_file(tmp_path, "users", "alice", "from-file")
    program = serve(tabi, pam, "auth pam tabi", auth=f"auth password {users}")
    assert ask(SOME, "alice", "secret") == 0
    helper = wait_helper(program)
    with open(f"/proc/{helper}/limits") as f:
        assert "Max core file size        0                    0" in f.read()
    try:
        # What belongs to the check goes just after its answer.
        wait_until(lambda: len(os.listdir(f"/proc/{helper}/fd")) == 5, 10, "the check to end")
    except PermissionError:
        # It cannot be traced by its own user either, which is what is wanted.
        assert os.geteuid() != 0
        return
    links = [os.readlink(f"/proc/{helper}/fd/{fd}") for fd in os.listdir(f"/proc/{helper}/fd")]
    assert sum(link.startswith("socket:") for link in links) == 1, links
    assert sum(link == "anon_inode:[signalfd]" for link in links) == 1, links
    if SANITIZED:
        return  # terabytes of shadow memory, none of which can be read
    secret = users.read_text().split(":")[1].strip().encode()
    found = {pid: memory_has(pid, secret) for pid in (helper, program.pid)}
    # The supervisor has it, or this would find nothing whatever there is.
    assert found == {helper: False, program.pid: True}


def memory_has(pid, what):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, mode = line.split()[:2]
            first, last = (int(x, 16) for x in span.split("-"))
            # What a sanitizer reserves is more than anybody could read.
            if not mode.startswith("rw") or last - first > 1 << 40:
                continue
            mem.seek(first)
            try:
                if what in mem.read(last - first):
                    return True
            except OSError:
                continue
    return False


def test_guesser_beside_an_honest_user(tabi, pam):
    """200 guesses whose failures modules want to be told late: they wait for themselves."""
    pam.service("tabi", LATE)
    program = serve(tabi, pam, "timeout handshake 60s")
    stop = threading.Event()
    failures = []

    def guess():
        while not stop.is_set() and len(failures) < 200:
            try:
                assert ask(SOME, "alice", f"wrong-{len(failures)}") != 0
                failures.append(1)
            except (AssertionError, OSError, TimeoutError):
                pass

    guessers = [threading.Thread(target=guess) for _ in range(200)]
    for one in guessers:
        one.start()
    try:
        wait_until(lambda: len(pam.asked()) > 10, 20, "guesses")
        worst = 0
        for i in range(10):
            # Another user each time, or the cache would answer.
            pam.known("alice:secret", f"honest{i}:pw")
            began = time.monotonic()
            assert ask(OTHERS, f"honest{i}", "pw") == 0
            worst = max(worst, time.monotonic() - began)
            time.sleep(0.2)
    finally:
        stop.set()
        program.stop()
        for one in guessers:
            one.join(70)
    print(f"worst of 10 logins beside {len(pam.asked())} guesses: {worst:.3f} s")
    assert worst < 1.5


@pytest.mark.skipif(os.geteuid() != 0, reason="pam_unix reads hashes as root alone")
def test_pam_unix(tabi, pam):
    """The real thing: /etc/passwd and /etc/shadow (the test's own)."""
    done = subprocess.run(
        ["openssl", "passwd", "-6", "unix-pw"], capture_output=True, text=True, check=True
    )
    word = done.stdout.strip()
    today = int(time.time() // 86400)
    passwd = open("/etc/passwd").read()
    for i, name in enumerate(("ann", "gone", "must-change", "empty", "locked")):
        passwd += f"{name}:x:{7000 + i}:7000::/nonexistent:/bin/sh\n"
    shadow = (
        "root:*:19000:0:99999:7:::\n"
        f"ann:{word}:{today}:0:99999:7:::\n"
        f"gone:{word}:{today}:0:99999:7::{today - 1}:\n"
        f"must-change:{word}:0:0:99999:7:::\n"
        f"empty::{today}:0:99999:7:::\n"
        f"locked:!{word}:{today}:0:99999:7:::\n"
    )
    (pam.here / "passwd").write_text(passwd)
    (pam.here / "shadow").write_text(shadow)
    pam.service("tabi", "auth required pam_unix.so nullok\naccount required pam_unix.so\n")

    def mount():
        pam.mount()
        netns.mount_over(str(pam.here / "passwd"), "/etc/passwd")
        netns.mount_over(str(pam.here / "shadow"), "/etc/shadow")

    tabi(local("auth pam tabi", "log level debug"), preexec=mount)
    assert ask(SOME, "ann", "unix-pw") == 0
    for user in ("gone", "must-change", "empty", "locked", "nobody", "unheard-of"):
        assert ask(SOME, user, "unix-pw") != 0, user
    assert ask(SOME, "ann", "wrong") != 0
    assert ask(SOME, "empty", "") != 0
