"""Batches over several devices, in a process that has them."""

import helpers


def test_batches_are_split_without_communication():
    helpers.run_on_devices("sharded.py", 8)
