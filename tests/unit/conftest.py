"""What all tests begin with."""

import signal

# A CI runner, or `nohup make test &`, starts us deaf to Ctrl-C; what a test starts and then interrupts would be so too.
signal.signal(signal.SIGINT, signal.default_int_handler)
