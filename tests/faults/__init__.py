"""The fault battery: damage, kills, full disks and rival writers, each of which is refused or changes nothing.

`make faults` runs all of it and prints a table; a few seconds of it run with every test run.
"""
