# SPDX-License-Identifier: MIT
"""What the network tests stand on: namespaces, the program under test, clients and targets."""
