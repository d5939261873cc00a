#!/usr/bin/env python3
# tabi check and tabi explain as they are called: arguments, standard input, exit status.
#
# usage: test_cli.py TABI
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
TABI = sys.argv.pop(1)


def run(*args, text=""):
    done = subprocess.run([TABI, *args], input=text, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


class Check(unittest.TestCase):
    def test_good_file(self):
        status, out, err = run("check", str(HERE / "examples/person.conf"))
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"person\.conf: ok, 3 listeners, 2 rules\n$")

    def test_good_file_in_the_singular(self):
        status, out, _ = run("check", "-", text="listen 127.0.0.1:1\nallow all\n")
        self.assertEqual((status, out), (0, "-: ok, 1 listener, 1 rule\n"))

    def test_mistakes_go_to_standard_error(self):
        status, out, err = run("check", "-", text="listen 127.0.0.1:1\nalow all\n")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err, "-:2:1: unknown statement 'alow'; did you mean 'allow'?\n"
                              "    alow all\n"
                              "    ^~~~\n\n"
                              "-: 1 mistake\n")

    def test_what_cannot_be_served_is_a_mistake(self):
        status, _, err = run("check", "-", text="listen 0.0.0.0:1\nallow all\n")
        self.assertEqual(status, 1)
        self.assertIn("-:1:8: strangers may use '0.0.0.0:1' without a password", err)

    def test_unreadable_files(self):
        status, _, err = run("check", "/no/such/file")
        self.assertEqual(status, 1)
        self.assertTrue(err.startswith("/no/such/file: cannot be read: there is no such file\n"))
        status, _, err = run("check", "/")
        self.assertEqual(status, 1)
        self.assertTrue(err.startswith("/: cannot be read: it is a directory\n"))

    def test_include_beside_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder)
            (top / "conf.d").mkdir()
            (top / "tabi.conf").write_text('include "conf.d/nets.conf"\nlisten 127.0.0.1:1\n')
            (top / "conf.d/nets.conf").write_text("include more.conf\nallow from office\n")
            (top / "conf.d/more.conf").write_text("net office 10.0.0.0/8\n")
            self.assertEqual(run("check", str(top / "tabi.conf"))[0], 0)
            (top / "conf.d/more.conf").write_text("nett office 10.0.0.0/8\n")
            status, _, err = run("check", str(top / "tabi.conf"))
            self.assertEqual(status, 1)
            self.assertIn(f"{top}/conf.d/more.conf:1:1: unknown statement 'nett'", err)

    def test_called_wrongly(self):
        self.assertEqual(run("check", "a", "b")[0], 2)
        self.assertEqual(run("check", "--no-such-option")[0], 2)
        status, out, _ = run("check", "--help")
        self.assertEqual(status, 0)
        self.assertIn("usage: tabi check", out)


class Explain(unittest.TestCase):
    CONF = str(HERE / "explain/office.conf")
    NAME = "user alice from 10.0.0.5 to www.example.com:443"

    def test_one_argument_or_several(self):
        one = run("explain", "-c", self.CONF, self.NAME + ' at "Mon 10:00"')
        several = run("explain", "-c", self.CONF, *self.NAME.split(), "at", "Mon 10:00")
        self.assertEqual(one, several)
        self.assertEqual(one[0], 0)
        lines = one[1].splitlines()
        self.assertEqual(lines[0], "depends on the address of www.example.com")
        self.assertIn("    deny to metadata,linklocal log", lines)
        self.assertIn("    allow from office to work port 80,443", lines)

    def test_the_answer_shows_rule_and_grant(self):
        status, out, _ = run("explain", "-c", self.CONF, self.NAME + " address 93.184.216.34")
        self.assertEqual(status, 0)
        self.assertEqual(out, f"allow, by {self.CONF}:20\n"
                              "    allow from office to work port 80,443\n"
                              "    granted: connect, bind, udp, resolve\n")

    def test_a_line_of_standard_input_each(self):
        text = "# two requests and a mistake\n\nto 10.0.0.1:80\nto nowhere\nto 169.254.1.1:80\n"
        status, out, err = run("explain", "-c", self.CONF, text=text)
        self.assertEqual(status, 1)
        self.assertEqual([line for line in out.splitlines() if not line.startswith(" ")],
                         [f"deny, by {self.CONF}:29", f"deny, by {self.CONF}:17"])
        self.assertIn("stdin:4:4: 'nowhere' is not a destination", err)

    def test_without_a_file_the_built_in_configuration(self):
        status, out, _ = run("explain", "to example.org:80")
        self.assertEqual(status, 0)
        self.assertTrue(out.startswith("allow, by (built-in):3\n"), out)

    def test_a_broken_configuration(self):
        status, out, err = run("explain", "-c", "-", "to example.org:80", text="alow all\n")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("-:1:1: unknown statement", err)

    def test_rate(self):
        """What is granted is said, and what is refused at start is not taken for granted."""
        conf = "listen 127.0.0.1:1080\nallow command udp from loopback rate 2mbit\n"
        ask = "command udp to 192.0.2.1:53"
        status, out, _ = run("explain", "-c", "-", ask, text=conf)
        self.assertEqual(status, 0)
        self.assertIn("granted: udp; rate 2mbit\n", out)
        _, out, _ = run("explain", "-c", "-", ask, text=conf.replace("command udp ", ""))
        self.assertIn("; rate 2mbit (not in this version)\n", out)

    def test_granted_through_proxies(self):
        """Datagrams where the proxies have them, groups never."""
        for url, granted in (("socks5h://h", "connect, bind, udp, resolve; via up"),
                             ("socks5h://h,http://h", "connect, bind, resolve; via up")):
            conf = f"listen 127.0.0.1:1080\nproxy up {url}\nallow from loopback via up\n"
            _, out, _ = run("explain", "-c", "-", "to 192.0.2.1:53", text=conf)
            self.assertIn(f"granted: {granted}", out)

    def test_egress(self):
        conf = """
listen 127.0.0.1:1080
egress 192.0.2.7,2001:db8::7
proxy edge socks5h://edge.test
allow from loopback to 10.0.0.1
allow from loopback to 10.0.0.2 egress eth1
allow from loopback to 10.0.0.3 egress any
allow from loopback to 10.0.0.4 egress pool 198.51.100.0/28,2001:db8:1::/64  sticky per user via edge
allow from loopback to 10.0.0.5 egress same
"""
        for host, said in (
            ("10.0.0.1", "; egress 192.0.2.7,2001:db8::7\n"),
            ("10.0.0.2", "; egress eth1\n"),
            ("10.0.0.3", "granted: connect, bind, udp, resolve\n"),
            ("10.0.0.4", "; egress pool 198.51.100.0/28,2001:db8:1::/64 sticky per user; "
             "via edge (edge.test:1080)\n"),
            ("10.0.0.5", "; egress same\n"),
        ):
            status, out, _ = run("explain", "-c", "-", f"to {host}:80", text=conf)
            self.assertEqual(status, 0)
            self.assertIn(said, out)

    def test_egress_that_is_not_there(self):
        """An interface may come, and the configuration may be for another machine: no mistake."""
        conf = ("listen 127.0.0.1:1080\negress 127.0.0.1\nallow from loopback egress nosuch0\n"
                "allow from private egress 192.0.2.7\n")
        status, out, err = run("check", "-", text=conf)
        self.assertEqual(status, 0)
        self.assertEqual(err.splitlines(), [
            "warning: -:3: egress nosuch0: there is no interface nosuch0",
            "warning: -:4: egress 192.0.2.7: 192.0.2.7 is not an address of this machine",
        ])

    def test_called_wrongly(self):
        self.assertEqual(run("explain", "-x")[0], 2)
        self.assertEqual(run("explain", "-c")[0], 2)
        self.assertEqual(run("explain", "--help")[0], 0)


unittest.main()
