"""`sekisho policy`: who may call what, as files say, without a running mesh."""
