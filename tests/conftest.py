# SPDX-License-Identifier: MIT
"""Fixtures: a network per test, the program, targets; and the table of hard cases."""

import os
import resource
import signal
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "net")]

from harness import certs, dns, netns, targets, udp  # noqa: E402
from harness.tabi import Tabi  # noqa: E402


def pytest_addoption(parser):
    parser.addoption(
        "--case-table", action="store_true", help="list hard case -> tests, run nothing"
    )


def pytest_configure(config):
    if config.option.case_table:
        config.option.collectonly = True
    else:
        # Thousands of connections have an end here.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        netns.enter_user_namespace()
        # Whoever runs this in the background may ignore them, and what is started here would too.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session):
    if not session.config.option.case_table:
        return
    table = {}
    for item in session.items:
        for mark in item.iter_markers("case"):
            for case in mark.args:
                name = f"{item.location[0]}::{item.originalname}"
                table.setdefault(case, {})[name] = True
    for case in sorted(table, key=lambda c: (c[0], int(c[1:]))):
        print(f"{case:5}", *table[case])


@pytest.fixture(autouse=True)
def network():
    netns.enter_fresh()


@pytest.fixture
def tabi(tmp_path):
    """tabi(config, ...) starts the program; at the end of the test each must stop as it should."""
    started = []

    def start(config=None, args=(), **options):
        started.append(Tabi(str(tmp_path), config, args, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def target():
    """target(serve, ...) starts a server to connect to."""
    started = []

    def start(*args, **options):
        started.append(targets.Target(*args, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def dns_server():
    started = []

    def start(*args, **options):
        started.append(dns.Dns(*args, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def echo():
    """echo(...) starts a UDP server that sends back what it gets."""
    started = []

    def start(*args):
        started.append(udp.Echo(*args))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Certificates: of the server, and of alice."""
    ca = certs.Authority(tmp_path_factory.mktemp("ca"))
    ca.server()
    ca.issue("alice")
    return ca
