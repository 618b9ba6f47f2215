"""Adds up meson's test logs: usage: count.py BROKEN_BUILDS BUILD_DIRECTORY..

Names what failed and was skipped, then prints "N passed, N failed[, N skipped]". A broken build is a failure, and so is
a directory without results that no broken build accounts for. Exit status 1 if anything failed.
"""
import glob
import json
import sys

passed, skipped, failed = 0, [], int(sys.argv[1])
silent = 0
for directory in sys.argv[2:]:
    results = 0
    for path in glob.glob(directory + "/meson-logs/testlog*.json"):
        with open(path) as log:
            for line in log:
                test = json.loads(line)
                name = f"{directory}: {test['name']}"
                results += 1
                if test["result"] in ("OK", "EXPECTEDFAIL"):
                    passed += 1
                elif test["result"] == "SKIP":
                    skipped.append(name)
                else:
                    failed += 1
                    print(f"failed: {name} ({test['result']})")
    silent += results == 0
if silent > int(sys.argv[1]):
    failed += silent - int(sys.argv[1])
    print("failed: tests were built but none was run")
for name in skipped:
    print("skipped:", name)
print(f"{passed} passed, {failed} failed" + (f", {len(skipped)} skipped" if skipped else ""))
sys.exit(failed > 0)
