"""The folders beside this file are installed packages to the tests, not tests."""

collect_ignore_glob = ["*"]
