"""Train the starter's models: `python -m starter.train [stage ...]`, all stages in order when none is named."""

from __future__ import annotations

import argparse
import importlib
import logging

STAGES = ("classifier", "autoencoder", "diffusion", "decoder", "cutout", "upscaler")


def main() -> None:
    """Run the stages that were named; each goes on where it was cut off and skips what is trained already."""
    parser = argparse.ArgumentParser(prog="python -m starter.train", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"one of {', '.join(STAGES)}")
    stages = parser.parse_args().stages or list(STAGES)
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        parser.error(f"no stage is named {', '.join(unknown)}: choose from {', '.join(STAGES)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for stage in stages:
        importlib.import_module(f"starter.training.{stage}").run()


if __name__ == "__main__":
    main()
