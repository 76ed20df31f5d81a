#!/usr/bin/env python3
"""Health checks that run inside a container: exit status 0 if all is well, else 1 and the reason on one line.

health http URL                 the URL answers with a status below 400
health docket NAME [SECONDS]    a worker of that docket in Redis (PREFECT_SERVER_DOCKET_URL) has beaten lately:
                                Prefect's background services run, and reach Redis
"""

import os
import sys
import time
import urllib.request

HTTP_SECONDS = 5.0
DOCKET_SECONDS = 30.0  # docket beats every two seconds


def http(url: str) -> None:
    """Raises OSError, which HTTP errors are too."""
    # The server runs in this container, where no proxy can reach it.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=HTTP_SECONDS):
        pass


def docket(name: str, seconds: str = str(DOCKET_SECONDS)) -> None:
    """Raises LookupError, or Redis's own error."""
    from redis import Redis

    url = os.environ["PREFECT_SERVER_DOCKET_URL"]
    with Redis.from_url(url, socket_timeout=HTTP_SECONDS, socket_connect_timeout=HTTP_SECONDS) as redis:
        newest = redis.zrange(f"{name}:workers", 0, 0, desc=True, withscores=True)
    if not newest:
        raise LookupError(f"docket {name} has no worker")
    silence = time.time() - newest[0][1]
    if silence > float(seconds):
        raise LookupError(f"the newest worker of docket {name} has been silent for {silence:.0f} s")


CHECKS = {"http": http, "docket": docket}


def main() -> int:
    try:
        CHECKS[sys.argv[1]](*sys.argv[2:])
    except (IndexError, KeyError, TypeError):
        print(__doc__, file=sys.stderr)
        return 1
    except Exception as problem:
        print(f"{type(problem).__name__}: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
