"""Every metric that a worker serves, by its Prometheus name; measuring, docs and dashboard use this table."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

# Seconds for one image: a transform takes milliseconds, a large model on a CPU minutes.
SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name as Prometheus shows it, and its meaning."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


TABLE: tuple[Metric, ...] = (
    # -- work ---------------------------------------------------------------------------------------------------------
    Metric(
        "pixelmill_images_total",
        "counter",
        "Outcomes of steps that the ledger has recorded. `step`: its name in the catalogue; `outcome`: computed, "
        "reused, skipped, failed.",
        ("step", "outcome"),
    ),
    Metric(
        "pixelmill_image_seconds", "histogram", "Compute time of an image, its share of its micro-batch.", ("step",)
    ),
    Metric("pixelmill_items_total", "counter", "Items that ended. `state`: done, failed, quarantined.", ("state",)),
    Metric(
        "pixelmill_shard_runs_total",
        "counter",
        "Flow runs that ended. `result`: completed, failed, cancelled, crashed (its process died, or it could not "
        "start).",
        ("result",),
    ),
    Metric("pixelmill_shard_running", "gauge", "1 while a flow run is in hand, else 0."),
    Metric(
        "pixelmill_pool_waiting_runs",
        "gauge",
        "Flow runs of the work pool that are due and that no worker has taken; asked every 10 s, absent while the "
        "Prefect API does not answer.",
        ("pool",),
    ),
    Metric("pixelmill_writer_queue_images", "gauge", "Images that wait to be encoded and stored."),
    Metric("pixelmill_writer_queue_limit_images", "gauge", "Images that may wait: at this number the device waits."),
    Metric("pixelmill_writer_queue_bytes", "gauge", "Decoded pixels that wait to be encoded and stored."),
    # -- device -------------------------------------------------------------------------------------------------------
    Metric(
        "pixelmill_device_busy_seconds_total",
        "counter",
        "Time in steps that use a model, failed tries and the micro-batch in hand included: its rate is the busy "
        "share.",
    ),
    Metric(
        "pixelmill_device_info", "gauge", "Always 1. `device`: its name; `kind`: cuda, mps, cpu.", ("device", "kind")
    ),
    Metric(
        "pixelmill_device_memory_held_bytes",
        "gauge",
        "Memory of the device that is taken; on CUDA also by other processes, on a CPU that of the process.",
    ),
    Metric("pixelmill_device_memory_capacity_bytes", "gauge", "Memory that the device has."),
    Metric("pixelmill_models_resident", "gauge", "Models on the device."),
    Metric("pixelmill_model_memory_bytes", "gauge", "What a resident model takes.", ("model",)),
    Metric("pixelmill_model_loads_total", "counter", "Models loaded.", ("model",)),
    Metric(
        "pixelmill_model_load_seconds_total",
        "counter",
        "Time of these loads. The first one with an engine also imports its libraries.",
        ("model",),
    ),
    Metric("pixelmill_warm_window_open", "gauge", "1 while the models of keep_warm are to stay loaded, else 0."),
    # -- trouble ------------------------------------------------------------------------------------------------------
    Metric(
        "pixelmill_batches_halved_total",
        "counter",
        "Micro-batches that were split. `reason`: memory (did not fit) or failure (to find the item at fault).",
        ("step", "reason"),
    ),
    Metric(
        "pixelmill_reliefs_total",
        "counter",
        "Tries to make room for one image. `relief`: free (other models left), tile, offload.",
        ("step", "relief"),
    ),
    Metric("pixelmill_store_retries_total", "counter", "Requests to S3 that had to be repeated."),
    # -- the worker itself --------------------------------------------------------------------------------------------
    Metric(
        "pixelmill_worker_info",
        "gauge",
        "Always 1. `version` of Pixelmill, name of the `worker`, its work `pool`.",
        ("version", "worker", "pool"),
    ),
    Metric("pixelmill_child_up", "gauge", "1 while the process that works is ready, else 0."),
    Metric("pixelmill_child_starts_total", "counter", "Starts of that process: more than one, and one ended."),
    Metric(
        "pixelmill_child_report_age_seconds",
        "gauge",
        "Time since that process last told its figures: seconds, unless it hangs.",
    ),
    Metric(
        "pixelmill_process_resident_bytes",
        "gauge",
        "Memory of the processes. `process`: parent (asks Prefect, serves this page) or child (works).",
        ("process",),
    ),
    Metric(
        "pixelmill_start_seconds",
        "gauge",
        "The last start of the child. `phase`: process (spawn to interpreter), imports, models (those of keep_warm), "
        "ready (all of these), load (of each `model` until the first image), first_image (recorded, from the "
        "beginning of the first flow run).",
        ("phase", "model"),
    ),
    Metric(
        "pixelmill_cost_total",
        "counter",
        "Seconds since the worker's start × PIXELMILL_PRICE_PER_HOUR, in its currency; busy or not.",
    ),
)
