"""Settings with which no shard could ever succeed: refused when a worker starts, as it would fail everybody's jobs."""

from collections.abc import Iterator

from configs.catalogues.catalogue import BUILT_IN, Catalogue
from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings, variable_of
from gpu_worker.process.warmth import check_keep_warm
from storage.ledger.database import LedgerError, accepted_url


def check_worker_settings(settings: Settings) -> None:
    """Raises InvalidInput with every mistake. Asks for no database: that may start after its workers."""
    if problems := list(_problems(settings)):
        raise InvalidInput(problems)


def _problems(settings: Settings) -> Iterator[Problem]:
    try:
        accepted_url(settings.resolved_ledger_url)
    except LedgerError as error:
        variable = variable_of("ledger_url")
        yield Problem(variable, str(error).removeprefix(f"{variable} "))
    catalogue = Catalogue()  # not the process's own: one with mistakes could not be asked again
    for path in (BUILT_IN, *settings.catalogue_path):
        try:
            catalogue.add(path)
        except InvalidInput as wrong:
            yield from wrong.problems
    try:
        check_keep_warm(settings)
    except InvalidInput as wrong:
        yield from wrong.problems
