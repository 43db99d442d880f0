#!/usr/bin/env python3
"""Names the slowest tests of a JUnit report: slowest_tests.py REPORT [HOW_MANY]"""

import sys
from xml.etree import ElementTree

report, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
tests = ElementTree.parse(report).getroot().iter("testcase")
timed = sorted(((float(test.get("time")), f"{test.get('classname')} {test.get('name')}") for test in tests), reverse=True)
print(f"slowest {count} of {len(timed)} tests:")
for seconds, name in timed[:count]:
    print(f"{seconds:8.2f} s  {name}")
