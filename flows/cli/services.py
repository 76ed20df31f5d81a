"""Commands about services: everything on one machine, deployments, galleries, workers, models."""

from typing import Annotated, Any

import typer

from flows.cli.session import AsJson, current_settings, errors_reported, print_json, print_table, quiet_prefect, session

app = typer.Typer()
worker_app = typer.Typer(help="GPU workers.", no_args_is_help=True)
models_app = typer.Typer(help="The models that recipes can name.", no_args_is_help=True)
app.add_typer(worker_app, name="worker")
app.add_typer(models_app, name="models")


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the UI and the API.")] = 4200,
    gallery_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the galleries.")] = 4201,
) -> None:
    """Run the Prefect server with its UI, the deployments, the galleries and a worker, until Ctrl-C."""
    from flows.prefect_api.workers import serve_forever

    with session(json=False, quiet=False) as (settings, _, console):
        serve_forever(
            settings, port=port, gallery_port=gallery_port, log=lambda text: console.print(text, highlight=False)
        )


@app.command()
def deploy(json: AsJson = False) -> None:
    """Create work pools, deployments and automations of the API at PREFECT_API_URL, or bring them up to date."""
    from flows.prefect_api.api import require_api
    from flows.prefect_api.deployments import all_deployments, ensure_automations, ensure_pool_and_deployments

    with errors_reported(json):
        settings = current_settings()
        quiet_prefect(settings)
        require_api()
        done = ensure_pool_and_deployments(settings, all_deployments(settings))
        ensure_automations()
    if json:
        print_json({"deployments": [deployed._asdict() for deployed in done]})
        return
    for deployed in done:
        typer.echo(f"{deployed.change:9}  {deployed.name}")
    for warning in (warning for deployed in done for warning in deployed.warnings):
        typer.echo(f"warning: {warning}", err=True)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 4201,
    revive: Annotated[
        bool, typer.Option("--revive", help="Also restart bursts that died; needs PREFECT_API_URL.")
    ] = False,
) -> None:
    """Show the galleries of all jobs in a browser, from folders and from S3, until Ctrl-C."""
    from flows.serve.app import serve as serve_galleries

    with session(json=False) as (settings, ledger, console):
        console.print(f"galleries: http://{host}:{port}/ (Ctrl-C stops it)", highlight=False)
        serve_galleries(ledger, settings, host=host, port=port, supervise=revive)


@worker_app.command("start")
def worker_start(
    pool: Annotated[str | None, typer.Option(help="Work pool to take shards from.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the worker.")] = None,
    with_healthcheck: Annotated[
        bool,
        typer.Option("--with-healthcheck", help="Answer GET /health on port 8080 (PREFECT_WORKER_WEBSERVER_PORT)."),
    ] = False,
    parent: Annotated[int | None, typer.Option(hidden=True, help="End with the process of this number.")] = None,
) -> None:
    """Take shards from the work pool and run them on this machine's device, models resident."""
    from gpu_worker.process.worker_process import start_worker

    with errors_reported(json=False):
        settings = current_settings()
        pool = pool or settings.work_pool
        raise typer.Exit(start_worker(pool, settings, name=name, parent=parent, with_healthcheck=with_healthcheck))


@models_app.command("list")
def models_list(json: AsJson = False) -> None:
    """List the models of the catalogue and whether their weights are on this machine."""
    from configs.catalogues.models import ModelCatalogue, ModelRef, local_source
    from steps.engines.local_copies import missing_copy

    with errors_reported(json):
        catalogue = ModelCatalogue(current_settings())
        rows: list[dict[str, Any]] = []
        for name in catalogue.names():
            spec = catalogue.get(name)
            for role, part in spec.parts.items():
                reason = catalogue.available(ModelRef(name, role))
                fetched = part.options.get("allow_download") is True
                if reason is None and local_source(part) is None and not fetched:
                    reason = missing_copy(part.engine, part.source)
                rows.append(
                    {
                        "model": name,
                        "role": role,
                        "engine": part.engine,
                        "source": part.source,
                        "license": spec.license,
                        "available": reason is None,
                        "reason": reason,
                    }
                )
        if json:
            print_json({"models": rows})
            return
        names = ("model", "role", "license")
        cells = [[*(row[name] for name in names), "yes" if row["available"] else "no"] for row in rows]
        print_table((*names, "ready"), cells, wraps=("license",))
        for row in rows:
            if row["reason"]:
                typer.echo(f"{row['model']}/{row['role']}: {row['reason']}")
