# SPDX-License-Identifier: MIT
"""What bench/compare is made of: the machine, the programs, what is measured, and what is told."""
