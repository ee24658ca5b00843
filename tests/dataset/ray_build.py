"""``python -m tests.dataset.ray_build DS PHOTOS MAKER BATCH LIMIT``: build with a maker of tests/dataset/toy.py on Ray.

In a process of its own, because Ray leaves pipes open, which pytest takes for errors of the tests.
"""

import sys
from pathlib import Path

from ostec.core.errors import OstecError
from ostec.dataset.build import Dataset
from ostec.dataset.executors import Job, RayExecutor, Resources
from ostec.dataset.plan import DatasetConfig
from tests.dataset import toy
from tests.dataset.toy import plan


def main(out: Path, photos: str, maker: str, batch: int, limit: float) -> int:
    dataset = Dataset.create(out, DatasetConfig(shard_size=8, batch=batch))
    plan(dataset, photos)
    job = Job(out, 8, getattr(toy, maker))
    try:
        dataset.run(RayExecutor(job, Resources(workers=2, gpus_per_worker=0.0, time_limit_s=limit)), lambda *_: None)
    except OstecError as error:
        print(error)
        return 1
    dataset.write_results()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4]), float(sys.argv[5])))
