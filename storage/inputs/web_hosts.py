"""Looks up the hosts that a job names, before any work: what may not be asked is a mistake of the job."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice

from configs.settings.access import objection_to
from storage.inputs.web_connections import look_up
from storage.inputs.web_errors import WebError

MAX_HOSTS = 200  # more are left to the workers: no job may have us look up names without end
_THREADS = 16
_SECONDS = 10.0  # in all; what is not known by then is left to the workers


def host_objections(hosts: Iterable[str], *, private: bool) -> dict[str, str]:
    """Host -> why nothing may be read from it: all its addresses are refused, or it does not exist.

    Says nothing of hosts that could not be looked up just now. A name may mean another address later, which whoever
    connects checks again.
    """
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="pixelmill-hosts")
    deadline = time.monotonic() + _SECONDS
    asked = {threads.submit(_objection, host, private): host for host in islice(dict.fromkeys(hosts), MAX_HOSTS)}
    done, _ = wait(asked, timeout=max(0.0, deadline - time.monotonic()))
    threads.shutdown(wait=False, cancel_futures=True)
    found = {host: future.result() for future, host in asked.items() if future in done}
    return {host: objection for host, objection in found.items() if objection is not None}


def _objection(host: str, private: bool) -> str | None:
    try:
        objections = [objection_to(address, private=private) for address in look_up(host, 443)]
    except WebError as error:
        return None if error.retryable else str(error).removesuffix(".")
    return None if None in objections else f"{host} may not be asked: {objections[0]}"
