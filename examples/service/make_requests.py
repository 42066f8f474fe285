"""Two weeks of made-up traffic by the hour, twenty times as much from the sixth day to the eighth.

python make_requests.py > requests.csv
"""

import math
import random

SEED, DAYS, MEAN_RPS = 7, 14, 600
SURGE_H, TIMES = range(5 * 24, 8 * 24), 20


def main() -> None:
    """More at noon than at midnight, with some noise; the same on each call."""
    lots = random.Random(SEED)
    print("time_s,requests")
    for hour in range(DAYS * 24):
        wave = 1 + 0.35 * math.sin(2 * math.pi * (hour / 24 - 0.3))
        # Of uniform numbers, which are the same in every version of Python.
        noise = math.exp(0.1 * (sum(lots.random() for _ in range(12)) - 6))
        rate_rps = MEAN_RPS * wave * noise * (TIMES if hour in SURGE_H else 1)
        print(f"{3600 * hour},{3600 * rate_rps:.0f}")


if __name__ == "__main__":
    main()
