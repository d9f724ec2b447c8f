"""Real servers on this machine, for tests of the stores that speak to one."""
