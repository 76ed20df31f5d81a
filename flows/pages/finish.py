"""The files at the end of a job: manifest, gallery, review page, contact sheet and report."""

from configs.settings.settings import Settings
from flows.explain.counts import WayCounts
from flows.pages.gallery import write_gallery
from flows.pages.review_page import write_review_page
from flows.report.contact_sheet import write_contact_sheet
from flows.report.report import Summary, build_summary, write_report
from storage.images.manifest import write_manifest
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord
from storage.objects.open_store import open_store


def finish_job(job: JobRecord, ledger: Ledger, settings: Settings) -> Summary:
    """Write the files about the whole job beside its finals, and return the summary of its last run."""
    store = open_store(job.output, settings)
    write_manifest(store, ledger, job)
    write_contact_sheet(store, ledger, job)
    write_review_page(store, ledger, job)
    counts = WayCounts(job)  # filled while the gallery is written: every item is explained once
    write_gallery(store, ledger, job, summary=build_summary(ledger, job, store, run=job.run), on_explanation=counts.add)
    summary = build_summary(ledger, job, store, run=job.run, ways=counts.ways)
    write_report(store, job, summary)
    return summary
