"""Six services that are deliberately vulnerable, in the shape of the flaws called MDhex.

They exist to be broken into, on loopback, in a trial that starts and ends them: once in a monolith,
where service and measurement are one process, and once in a compartment. Nothing here is part of a
device, and nothing of a device imports it.

Source: ICSMA-20-023-01 (CVE-2020-6961 to CVE-2020-6966). The flaws are of the same shape; no
product's code, key or protocol is reproduced.
"""
